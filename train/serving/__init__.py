"""The live view: a small web server that reads run folders and never writes in them."""
