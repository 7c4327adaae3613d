"""The tasks of the Chomsky hierarchy, beside slow ones in plain Python."""

import functools
import math
import re
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tasks
from tasks import chomsky
from tasks.chomsky import binary, expressions
from tasks.chomsky.protocol import ChomskyTask

pytestmark = pytest.mark.usefixtures("quick_compilations")


def parity(string):
    return str(string.count("1") % 2)


def even_pairs(string):
    pairs = [string[i : i + 2] for i in range(len(string) - 1)]
    return str((pairs.count("01") + pairs.count("10")) % 2)


def cycle_navigation(string):
    place = 0
    for move in string:
        place = {"+": place + 1, "-": place - 1, ".": place}[move] % 5
    return str(place)


def value(string):
    """Of an expression, or of numbers with operators: Python's own."""
    return str(eval(string) % 5)


def solve_equation(string):
    if len(string) < 3:
        return "0"
    left, right = string.split("=")
    (x,) = (x for x in "01234" if value(left.replace("x", x)) == right)
    return x


def stack_manipulation(string):
    stack = []
    for symbol in string:
        if symbol == "p":
            stack = stack[:-1]
        else:
            stack.append({"a": "0", "b": "1"}.get(symbol, symbol))
    return "".join(stack[::-1]) + "$"


def duplicate_string(string):
    return string + string


def missing_duplicate(string):
    if string == "1":
        return "1"
    string = string.removesuffix(".")
    half = len(string) // 2
    a, b = string[:half], string[half:]
    (found,) = (y if x == "?" else x for x, y in zip(a, b) if "?" in (x, y))
    assert a.replace("?", found) == b.replace("?", found)
    return found


def odds_first(string):
    return string[1::2] + string[::2]


def bucket_sort(string):
    return "".join(sorted(string))


def number(bits):
    """Of bits of which the lowest is first."""
    return int(bits[::-1], 2)


def bits(value):
    return f"{value:b}"[::-1]


def binary_addition(string):
    return bits(sum(map(number, string.split("+")))) + "$"


def binary_multiplication(string):
    if len(string) < 3:
        return "0" * (len(string) - 1) + "$"
    return bits(math.prod(map(number, string.split("*")))) + "$"


def compute_sqrt(string):
    root = f"{math.isqrt(int(string, 2)):b}"
    return root.zfill((len(string) + 1) // 2)


REFERENCES = {
    chomsky.Parity: parity,
    chomsky.EvenPairs: even_pairs,
    chomsky.CycleNavigation: cycle_navigation,
    chomsky.ModularArithmeticSimple: value,
    chomsky.StackManipulation: stack_manipulation,
    chomsky.ModularArithmetic: value,
    chomsky.SolveEquation: solve_equation,
    chomsky.DuplicateString: duplicate_string,
    chomsky.MissingDuplicate: missing_duplicate,
    chomsky.OddsFirst: odds_first,
    chomsky.BinaryAddition: binary_addition,
    chomsky.BinaryMultiplication: binary_multiplication,
    chomsky.ComputeSqrt: compute_sqrt,
    chomsky.BucketSort: bucket_sort,
}


def every_task(*fast):
    """All tasks; only those are fast."""
    return pytest.mark.parametrize(
        "task",
        [
            pytest.param(own(), marks=() if own in fast else pytest.mark.slow)
            for own in REFERENCES
        ],
        ids=[own.__name__ for own in REFERENCES],
    )


@functools.cache
def drawn(task: ChomskyTask, number: int, limit: int, seed: int = 0):
    """So many sequences of each length up to the limit: (length, string, answer)."""
    lengths = jnp.repeat(jnp.arange(1, limit + 1), number)
    keys = jax.random.split(jax.random.key(seed), len(lengths))
    lengths_of_strings = task.string_length(lengths)
    draw = functools.partial(task.string, limit=limit)
    strings = jax.jit(jax.vmap(draw))(keys, lengths_of_strings)
    answers, counts = jax.jit(jax.vmap(task.answer))(strings, lengths_of_strings)
    symbols, of_answers = np.array([*task.symbols]), np.array([*task.answers])
    return [
        (
            int(length),
            "".join(symbols[np.asarray(string)[:size]]),
            "".join(of_answers[np.asarray(answer)[:count]]),
        )
        for length, string, size, answer, count in zip(
            *(np.asarray(each) for each in (lengths, strings)),
            *(np.asarray(each) for each in (lengths_of_strings, answers, counts)),
        )
    ]


@every_task(chomsky.Parity, chomsky.SolveEquation, chomsky.BinaryAddition)
def test_every_answer_is_that_of_plain_python(task):
    reference = REFERENCES[type(task)]
    for length, string, answer in drawn(task, 25, 40):
        assert len(string) == length or (
            type(task) is chomsky.ModularArithmeticSimple and len(string) == length - 1
        )
        assert answer == reference(string), string
        assert len(answer) <= task.most_answers(length)


@every_task()
def test_answers_to_strings_of_500_are_right(task):
    keys = jax.random.split(jax.random.key(5), 4)
    length = task.string_length(jnp.int32(500))

    @jax.jit
    @jax.vmap
    def sequence(key):
        string = task.string(key, length, 500)
        return string, *task.answer(string, length)

    for string, answer, count in zip(*map(np.asarray, sequence(keys))):
        text = "".join(task.symbols[i] for i in string[: int(length)])
        wanted = REFERENCES[type(task)](text)
        assert "".join(task.answers[i] for i in answer[:count]) == wanted


@every_task(chomsky.StackManipulation)
def test_a_batch_shows_the_string_and_then_asks(task):
    """The inputs, the mask and the targets, step by step; nothing after the answer."""
    batch = jax.jit(lambda key: task.sample(key, 50, length=(1, 12)))(jax.random.key(1))
    inputs, targets, mask = map(np.asarray, (batch.inputs, batch.targets, batch.mask))
    assert inputs.shape == (12 + task.most_answers(12), 50, len(task.symbols) + 1)
    for i in range(50):
        size = int(np.argmax(mask[:, i]))
        count = int(mask[:, i].sum())
        assert mask[size : size + count, i].all()
        assert (inputs[: size + count, i].sum(axis=-1) == 1).all()
        assert not inputs[size + count :, i].any()
        assert not inputs[:size, i, -1].any()
        assert inputs[size : size + count, i, -1].all()
        string = "".join(task.symbols[k] for k in inputs[:size, i].argmax(axis=-1))
        answer = "".join(task.answers[k] for k in targets[mask[:, i], i])
        assert answer == REFERENCES[type(task)](string)
        assert task.in_words(batch)[i] == f"{string}{'_' * count} -> {answer}"
    assert not targets[~mask].any()


@every_task(chomsky.EvenPairs)
def test_a_longest_string_has_no_part_in_a_shorter_one(task):
    """A length alone decides, whatever the batch is padded to."""
    answer_to = jax.jit(task.answer)
    string = jax.jit(task.string, static_argnums=2)(jax.random.key(2), 5, 5)
    answers = []
    for padding in (0, 1):
        shown = np.concatenate([string, np.full(7, padding, np.int32)])
        answer, count = answer_to(shown, 5)
        answers.append(np.asarray(answer)[: int(count)].tolist())
    assert answers[0] == answers[1]


@every_task(chomsky.OddsFirst)
def test_the_error_is_the_share_of_wrong_symbols(task):
    batch = jax.jit(lambda key: task.sample(key, 6, length=9))(jax.random.key(0))
    right = 9 * jax.nn.one_hot(batch.targets, len(task.answers), dtype=jnp.float32)
    assert not task.errors(right, batch).any()
    first = jnp.argmax(batch.mask, axis=0)
    wrong = right.at[first, jnp.arange(6)].multiply(-1.0)
    shares = 1 / np.asarray(batch.mask).sum(axis=0)
    np.testing.assert_allclose(task.errors(wrong, batch), shares, rtol=1e-6)
    assert task.tolerance == 0


@every_task(chomsky.CycleNavigation)
def test_a_key_gives_the_same_sequences_in_double_precision(task):
    def sample():
        return jax.jit(lambda key: task.sample(key, 4, length=6))(jax.random.key(3))

    batch = sample()
    with jax.enable_x64(True):
        jax.tree.map(np.testing.assert_array_equal, sample(), batch)


def test_a_task_is_named_by_its_place():
    place = "ntm_jax.tasks.chomsky:Parity"
    assert type(tasks.get(place)) is chomsky.Parity
    assert tasks.name_in_words(place) == "parity"


# What is drawn at random, and how often: the compilations take some seconds each.
random_strings = pytest.mark.slow


def frequencies(values):
    counts = Counter(values)
    return {value: count / counts.total() for value, count in sorted(counts.items())}


def check_uniform(values, wanted):
    found = frequencies(values)
    assert sorted(found) == sorted(wanted)
    for value, share in found.items():
        n = len(values)
        share_wanted = 1 / len(wanted)
        spread = math.sqrt(share_wanted * (1 - share_wanted) / n)
        assert abs(share - share_wanted) < 4.5 * spread, (value, share)


def strings_of(task, length, number=2000):
    keys = jax.random.split(jax.random.key(3), number)
    size = task.string_length(jnp.int32(length))
    draw = functools.partial(task.string, length=size, limit=length)
    found = np.asarray(jax.jit(jax.vmap(draw))(keys))[:, : int(size)]
    return ["".join(task.symbols[i] for i in string) for string in found]


@random_strings
@pytest.mark.parametrize(
    "own",
    [
        chomsky.Parity,
        chomsky.EvenPairs,
        chomsky.CycleNavigation,
        chomsky.DuplicateString,
        chomsky.OddsFirst,
        chomsky.BucketSort,
    ],
)
def test_all_short_strings_are_alike(own):
    task = own()
    wanted = [a + b for a in task.symbols for b in task.symbols]
    check_uniform(strings_of(task, 2), wanted)


@random_strings
def test_simple_arithmetic_is_of_odd_length_and_has_all_symbols_alike():
    strings = strings_of(chomsky.ModularArithmeticSimple(), 4)
    assert all(len(string) == 3 for string in strings)
    check_uniform([string[1] for string in strings], "+-*")
    for place in (0, 2):
        check_uniform([string[place] for string in strings], "01234")


@random_strings
def test_any_height_of_the_stack_is_alike():
    strings = strings_of(chomsky.StackManipulation(), 5)
    heights = [len(re.match("[01]*", string).group()) for string in strings]  # type: ignore[union-attr]
    check_uniform(heights, [1, 2, 3, 4])
    assert all(set(s[h:]) <= {*"pab"} for s, h in zip(strings, heights))
    check_uniform([string[-1] for string in strings], "pab")


@random_strings
def test_expressions_of_short_lengths_are_those_of_the_benchmark():
    own = chomsky.ModularArithmetic()
    check_uniform(strings_of(own, 1), "01234")
    check_uniform(strings_of(own, 2), [f"-{d}" for d in "01234"])
    check_uniform(strings_of(own, 3), [f"({d})" for d in "01234"])
    check_uniform(strings_of(own, 4), [f"(-{d})" for d in "01234"])
    pairs = strings_of(own, 5)
    assert all(re.fullmatch(r"\([0-4][-+*][0-4]\)", pair) for pair in pairs)
    check_uniform([pair[2] for pair in pairs], "+-*")


def left_width(expression):
    """The symbols of the first of two expressions in brackets."""
    depth = 0
    for i, symbol in enumerate(expression):
        depth += (symbol == "(") - (symbol == ")")
        if depth == 1 and i > 1 and symbol in "+-*" and expression[i - 1] not in "(+-*":
            return i - 1
    raise AssertionError(expression)


@random_strings
def test_two_expressions_share_the_length_in_all_ways_alike():
    widths = map(left_width, strings_of(chomsky.ModularArithmetic(), 10))
    check_uniform([*widths], range(1, 7))


@random_strings
def test_an_equation_hides_a_number_at_a_random_place():
    """The place is random, and not the number: after brackets, one is likelier."""
    for string in strings_of(chomsky.SolveEquation(), 12, 200):
        assert re.fullmatch(r"[-+()x0-4]{10}=[0-4]", string)
        assert string.count("x") == 1
    # (d): all three places lead to the number. (-d): the same. (d+e): of the places
    # 0 to 4, the first two and the last lead to d.
    found = frequencies(s.index("x") for s in strings_of(chomsky.SolveEquation(), 7))
    assert sorted(found) == [1, 3]
    assert found[1] == pytest.approx(3 / 5, abs=0.05)


@random_strings
def test_the_missing_symbol_is_anywhere():
    strings = strings_of(chomsky.MissingDuplicate(), 7)
    assert all(string.endswith(".") for string in strings)
    check_uniform([string.index("?") for string in strings], range(6))


@random_strings
@pytest.mark.parametrize("own", [chomsky.BinaryAddition, chomsky.BinaryMultiplication])
def test_no_number_is_zero_and_all_others_are_alike(own):
    strings = strings_of(own(), 6)
    numbers = [re.split("[+*]", string) for string in strings]
    check_uniform([len(first) for first, _ in numbers], [1, 2, 3, 4])
    seconds = [number(second) for first, second in numbers if len(first) == 3]
    check_uniform(seconds, [1, 2, 3])
    check_uniform(strings_of(own(), 2), ["00", "10", "01"])
    assert {*strings_of(own(), 1, 50)} == {"0"}


@random_strings
def test_no_root_is_asked_of_zero():
    check_uniform(
        strings_of(chomsky.ComputeSqrt(), 3), [f"{n:03b}" for n in range(1, 8)]
    )


@pytest.mark.parametrize(
    "size", [3, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2, 7, 40))]
)
def test_arithmetic_on_bits_is_that_of_integers(size):
    generator = np.random.default_rng(size)
    a, b = generator.integers(2, size=(2, 60, size))
    b[:, -1] = 0

    def integers(rows):
        return [int("".join(map(str, row[::-1])), 2) for row in np.asarray(rows)]

    products = jax.jit(jax.vmap(binary.product))(*map(jnp.int32, (a, b)))
    assert integers(products) == [x * y for x, y in zip(integers(a), integers(b))]
    numbers = jax.vmap(binary.num_bits)(jnp.int32(a))
    assert numbers.tolist() == [x.bit_length() for x in integers(a)]
    pairs = generator.integers(2, size=(60, size, 2))
    roots = jax.jit(jax.vmap(binary.root))(jnp.int32(pairs))
    big = integers(pairs.reshape(60, -1)[:, ::-1])
    assert integers(np.asarray(roots)[:, ::-1]) == [math.isqrt(x) for x in big]
    totals = jax.vmap(binary.carried)(jnp.pad(jnp.int32(a + b), ((0, 0), (0, 2))))
    assert integers(totals) == [x + y for x, y in zip(integers(a), integers(b))]


@pytest.mark.parametrize(
    "text", ["((1--2)*-3)", "(-4--4)", "(((2)-(-3))*(4+-1))", "-0"]
)
def test_signs_and_brackets_of_an_expression(text):
    symbols = jnp.array([expressions.SYMBOLS.index(s) for s in text], jnp.int32)
    padded = jnp.pad(symbols, (0, 24 - len(text)))  # one shape, one compilation
    assert int(_value(padded, len(text))) == eval(text) % 5


_value = jax.jit(expressions.value)
