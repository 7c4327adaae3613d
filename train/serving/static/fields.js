// Requests, numbers in words, and tables.

export const $ = (id) => document.getElementById(id);

// The JSON at a path; an error with the server's words and its status if there is none.
export async function ask(path) {
  const response = await fetch(path, {cache: "no-store"});
  const said = await response.json().catch(() => ({error: response.statusText}));
  if (!response.ok) throw Object.assign(new Error(said.error), {status: response.status});
  return said;
}

// Repeats work, a pause after each end; slower on a page that is not seen or after errors.
export function repeat(work, seconds, problem) {
  let failed = 0;
  const once = async () => {
    try {
      if (!document.hidden) await work();
      failed = 0;
      problem.textContent = "";
    } catch (error) {
      failed += 1;
      const words = error.status ? error.message : "The server does not answer. Trying again.";
      if (problem.textContent !== words) problem.textContent = words;
    }
    setTimeout(once, 1000 * seconds * Math.min(1 + failed, 5));
  };
  document.addEventListener("visibilitychange", () => { if (!document.hidden) work().catch(() => {}); });
  once();
}

export const whole = (value) => Math.round(value).toLocaleString("en");

// Four digits.
export function short(value) {
  if (value === null || value === undefined) return "not finite";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-3) return value.toExponential(2);
  return String(Number(value.toPrecision(4)));
}

export function duration(seconds) {
  const total = Math.round(seconds);
  if (total < 60) return `${total} s`;
  if (total < 3600) return `${Math.floor(total / 60)} min ${total % 60} s`;
  return `${Math.floor(total / 3600)} h ${Math.floor(total % 3600 / 60)} min`;
}

export const words = (name) => name.replaceAll("_", " ");

export function element(kind, {text, ...attributes} = {}, ...children) {
  const made = document.createElement(kind);
  if (text !== undefined) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// The names in a run's folder as a path of a URL.
export const pathOf = (name) => name.split("/").map(encodeURIComponent).join("/");
