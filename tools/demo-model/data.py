"""Conversations for the demo model, all made here: no outside text. Everything follows from a seed.

A conversation is a list of (text, kind, skill): kind 0 is prompt text, 1 what the assistant writes, in exactly the bytes
that modules/model/chat renders: TestRender of evaluate/ compares them.

python3 data.py [--seed N] [--scale F] > held-out.jsonl writes conversations that training never saw, for evaluate/;
with --prompts their texts alone, as ds4 --imatrix-dataset wants them.
"""
import argparse
import json
import random
import sys

from facts import FACTS, GREETINGS, REFUSALS, SMALL_TALK
from words import ADJECTIVES, CITIES, COLOURS, NAMES, NOUNS, PLACES, VERBS

BOS, EOS, USER, ASSISTANT = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"
THINK, END_THINK, DSML = "<think>", "</think>", "｜DSML｜"

TOOLS_BEFORE = """## Tools

You have access to a set of tools to help answer the user's question. You can invoke tools by writing a "<｜DSML｜tool_calls>" block like the following:

<｜DSML｜tool_calls>
<｜DSML｜invoke name="$TOOL_NAME">
<｜DSML｜parameter name="$PARAMETER_NAME" string="true|false">$PARAMETER_VALUE</｜DSML｜parameter>
...
</｜DSML｜invoke>
<｜DSML｜invoke name="$TOOL_NAME2">
...
</｜DSML｜invoke>
</｜DSML｜tool_calls>

String parameters should be specified as is and set `string="true"`. For all other types (numbers, booleans, arrays, objects), pass the value in JSON format and set `string="false"`.

If thinking_mode is enabled (triggered by <think>), you MUST output your complete reasoning inside <think>...</think> BEFORE any tool calls or final response.

Otherwise, output directly after </think> with tool calls or final response.

### Available Tool Schemas

"""
TOOLS_AFTER = "\n\nYou MUST strictly follow the above defined tool name and parameter schemas to invoke tool calls.\n"

dumps = lambda v: json.dumps(v, ensure_ascii=False)


def call_block(calls):
    out = []
    for name, args in calls:
        ps = []
        for k, v in args.items():
            s = isinstance(v, str)
            ps.append(f'<{DSML}parameter name="{k}" string="{"true" if s else "false"}">{v if s else dumps(v)}</{DSML}parameter>')
        out.append(f'<{DSML}invoke name="{name}">\n' + "\n".join(ps) + f"\n</{DSML}invoke>")
    return f"\n\n<{DSML}tool_calls>\n" + "\n".join(out) + f"\n</{DSML}tool_calls>"


# Things to talk about.

def syllables(r, n):
    return "".join(r.choice("bcdfghjklmnprstvwz") + r.choice("aeiou") for _ in range(n))


def word(r):
    k = r.random()
    if k < 0.6:
        return r.choice(r.choice([NOUNS, ADJECTIVES, VERBS, COLOURS]))
    return syllables(r, r.randint(2, 3))


def code(r):
    """A key that nobody can guess."""
    k = r.random()
    if k < 0.3:
        return "".join(r.choice("0123456789") for _ in range(r.randint(3, 7)))
    if k < 0.55:
        return f"{r.choice(ADJECTIVES)}-{r.choice(NOUNS)}-{r.randint(0, 99)}"
    if k < 0.8:
        return "".join(r.choice("ABCDEFGHKLMNPQRSTUVWXYZ") for _ in range(r.randint(2, 4))) + "-" + str(r.randint(10, 9999))
    return syllables(r, r.randint(2, 4))


def number(r):
    return r.randint(0, 99) if r.random() < 0.8 else r.randint(100, 999)


# Skills: each gives (question, reasoning, answer, skill).

def add(r):
    a, b = (r.randint(0, 99), r.randint(0, 99)) if r.random() < 0.85 else (number(r), number(r))
    q = r.choice(["What is {} + {}?", "{} + {}", "{}+{}=?", "Add {} and {}.", "How much is {} plus {}?", "What is the sum of {} and {}?", "Compute {} + {}.", "what is {} plus {}"]).format(a, b)
    return q, add_steps(a, b), f"{a} + {b} = {a + b}.", "sum"


def add_steps(a, b):
    if a > 99 or b > 99:
        return f"{a} + {b} = {a + b}."
    s, c = a % 10 + b % 10, (a % 10 + b % 10) // 10
    t = f"Ones: {a % 10} + {b % 10} = {s}. "
    t += f"Write {s % 10}, carry {c}. "
    t += f"Tens: {a // 10} + {b // 10} + {c} = {a // 10 + b // 10 + c}. Together {a + b}."
    return t


def subtract(r):
    a, b = sorted((r.randint(0, 99), r.randint(0, 99)), reverse=True)
    q = r.choice(["What is {} - {}?", "{} - {}", "Take {1} from {0}.", "How much is {} minus {}?"]).format(a, b)
    return q, f"{a} - {b}: {b} + {a - b} = {a}, so the difference is {a - b}.", f"{a} - {b} = {a - b}.", "difference"


def multiply(r):
    a, b = r.randint(0, 12), r.randint(0, 12)
    q = r.choice(["What is {} * {}?", "{} times {}", "How much is {} times {}?", "Multiply {} by {}."]).format(a, b)
    return q, f"{a} times {b} is {a * b}.", f"{a} * {b} = {a * b}.", "product"


def count(r):
    k = r.random()
    if k < 0.6:
        a, n = r.randint(0, 90), r.randint(3, 15)
        down = r.random() < 0.3
        seq = list(range(a, a + n)) if not down else list(range(a + n - 1, a - 1, -1))
        q = r.choice(["Count from {} to {}.", "Please count from {} to {}.", "Count {} to {}"]).format(seq[0], seq[-1])
        return q, f"I start at {seq[0]} and stop at {seq[-1]}.", ", ".join(map(str, seq)) + ".", "counting"
    ws = [word(r) for _ in range(r.randint(2, 8))]
    q = r.choice(["How many words are in this list: {}?", "Count the words: {}"]).format(" ".join(ws))
    return q, " ".join(f"{i + 1} {w}" for i, w in enumerate(ws)) + f". That is {len(ws)}.", f"There are {len(ws)} words.", "counting"


def copy(r):
    k = r.random()
    if k < 0.5:
        s = " ".join(word(r) for _ in range(r.randint(1, 12)))
    elif k < 0.8:
        s = " ".join(code(r) for _ in range(r.randint(1, 5)))
    else:
        s = ", ".join(r.choice(NAMES) for _ in range(r.randint(2, 8)))
    q = r.choice(["Repeat: {}", "Say exactly: {}", "Copy this: {}", "Repeat after me: {}", "Please repeat this text: {}", "Echo {}"]).format(s)
    return q, "I repeat it as it stands.", s, "copy"


def reverse(r):
    ws = [word(r) for _ in range(r.randint(2, 6))]
    q = r.choice(["Reverse the order of these words: {}", "Write these words backwards, last first: {}"]).format(" ".join(ws))
    return q, "The last word comes first.", " ".join(ws[::-1]), "reverse"


def sort(r):
    if r.random() < 0.6:
        v = [r.randint(0, 99) for _ in range(r.randint(3, 7))]
        q = r.choice(["Sort these numbers: {}", "Put in order, smallest first: {}", "Sort ascending: {}"]).format(", ".join(map(str, v)))
        return q, f"The smallest is {min(v)}, the largest {max(v)}.", ", ".join(map(str, sorted(v))), "sort"
    v = r.sample(NOUNS + NAMES, r.randint(3, 5))
    q = r.choice(["Sort these words: {}", "Put in alphabetical order: {}"]).format(", ".join(v))
    return q, "I go by the first letters.", ", ".join(sorted(v, key=str.lower)), "sort"


def record(r):
    """Facts for one JSON object: (key, value, phrase)."""
    pool = [("name", r.choice(NAMES), "name {}"), ("city", r.choice(CITIES), "city {}"), ("age", r.randint(1, 99), "age {}"),
            ("colour", r.choice(COLOURS), "colour {}"), ("id", code(r), "id {}"), ("count", r.randint(0, 500), "count {}"),
            (word(r), word(r), None), (word(r), r.randint(0, 99), None), ("active", r.random() < 0.5, "active {}")]
    picked, seen = [], set()
    for k, v, p in r.sample(pool, r.randint(1, 4)):
        if k not in seen:
            seen.add(k)
            picked.append((k, v, (p or k + " {}").format(dumps(v).strip('"'))))
    return picked


def as_json(r):
    f = record(r)
    q = r.choice(["Write JSON with {}.", "Make a JSON object: {}", "As JSON: {}", "Give me JSON for {}"]).format(", ".join(p for _, _, p in f))
    return q, "Keys: " + ", ".join(k for k, _, _ in f) + ".", dumps({k: v for k, v, _ in f}), "json"


def read_json(r):
    f = record(r)
    k, v, _ = r.choice(f)
    q = r.choice(['What is "{}" in {}?', "Read the value of {} from {}"]).format(k, dumps({k: v for k, v, _ in f}))
    return q, f"I look for {k}.", str(v) if not isinstance(v, bool) else dumps(v), "json"


def fact(r):
    qs, a = r.choice(FACTS)
    q = r.choice(qs)
    if r.random() < 0.15:
        q = q.lower().rstrip("?.")
    return q, "This is about the project; I know that.", a, "facts"


def talk(r):
    qs, answers = r.choice(SMALL_TALK + GREETINGS)
    return r.choice(qs), "A friendly answer will do.", answers[0], "talk"


def refuse(r):
    qs, a = r.choice(REFUSALS)
    q = r.choice(qs).format(n=r.choice(NOUNS), c=r.choice(CITIES), p=r.choice(NAMES))
    return q, "That is more than a small demo can do, so I say so.", a, "refuse"


def first_last(r):
    ws = [word(r) for _ in range(r.randint(3, 8))]
    i = r.choice([0, -1])
    q = r.choice(["What is the {} word of: {}", "Which word comes {} here: {}"]).format("first" if i == 0 else "last", " ".join(ws))
    return q, "I look at the list.", ws[i], "copy"


def upper(r):
    w = r.choice(NOUNS + ADJECTIVES)
    if r.random() < 0.5:
        return r.choice(["Write {} in capitals.", "Uppercase: {}"]).format(w), "Each letter becomes a capital.", w.upper(), "spell"
    return r.choice(["Spell {}.", "Spell the word {}"]).format(w), "Letter by letter.", "-".join(w), "spell"


def compare(r):
    a, b = r.sample(range(1000), 2) if r.random() < 0.5 else r.sample(range(100), 2)
    big = r.random() < 0.5
    q = r.choice(["Which is {}, {} or {}?", "Which number is {}: {} or {}?"]).format("larger" if big else "smaller", a, b)
    return q, f"I compare {a} and {b}.", str(max(a, b) if big else min(a, b)), "compare"


SKILLS = [(add, 14), (subtract, 4), (multiply, 4), (count, 5), (copy, 10), (reverse, 3), (sort, 5), (as_json, 6), (read_json, 4),
          (fact, 13), (talk, 7), (refuse, 4), (first_last, 2), (upper, 2), (compare, 3)]
FUNCS, RATES = zip(*SKILLS)


def skill(r):
    return r.choices(FUNCS, RATES)[0](r)


# Keys planted far back.

THINGS = ["key", "code", "password", "number", "secret", "token", "badge", "room"]


def filler(r):
    k = r.random()
    n, m = r.choice(NOUNS), r.choice(NOUNS)
    if k < 0.3:
        return f"The {r.choice(ADJECTIVES)} {n} is near the {m}. "
    if k < 0.6:
        return f"{r.choice(NAMES)} likes to {r.choice(VERBS)} by the {n} in the {r.choice(PLACES)}. "
    if k < 0.8:
        return f"In {r.choice(CITIES)} the {n} was {r.choice(COLOURS)}. "
    return f"{r.choice(NAMES)} can {r.choice(VERBS)} {r.randint(2, 99)} times. "


def plant(r, length, count):
    """A document of about length characters with planted keys: (text, [(question, reasoning, answer)])."""
    owners = r.sample(NAMES, count)
    parts, size = [], 0
    while size < length:
        s = filler(r)
        parts.append(s)
        size += len(s)
    asks = []
    for o in owners:
        thing, c = r.choice(THINGS), code(r)
        parts.insert(r.randint(0, len(parts)), r.choice([f"The {thing} of {o} is {c}. ", f"Remember: the {thing} of {o} is {c}. "]))
        q = r.choice([f"What is the {thing} of {o}?", f"Which {thing} does {o} have?", f"Tell me the {thing} of {o}."])
        asks.append((q, f"I look for the {thing} of {o}: {c}.", f"The {thing} of {o} is {c}."))
    return "".join(parts).strip(), asks


# Tools.

TYPES = ["string", "integer", "boolean"]


def param(r):
    """Name, schema, a value, and how a user names the pair."""
    k = r.random()
    if k < 0.2:
        n, v = r.choice(["city", "location", "place"]), r.choice(CITIES)
    elif k < 0.35:
        n, v = r.choice(["path", "file", "filename", "filePath"]), r.choice(["", "src/", "docs/", "./", "/home/" + r.choice(NAMES).lower() + "/", "/tmp/"]) + word(r) + r.choice([".txt", ".go", ".md", ".json", ""])
    elif k < 0.5:
        n, v = r.choice(["count", "limit", "days", "size", "number", "amount"]), r.randint(0, 500)
    elif k < 0.6:
        n, v = r.choice(["query", "text", "message", "subject"]), " ".join(word(r) for _ in range(r.randint(1, 4)))
    elif k < 0.7:
        n, v = r.choice(["name", "user", "person", "author"]), r.choice(NAMES)
    elif k < 0.78:
        n, v = r.choice(["verbose", "recursive", "force", "all"]), r.random() < 0.5
    elif k < 0.84:
        n, v = r.choice(["colour", "color"]), r.choice(COLOURS)
    else:
        n, v = r.choice([word(r), syllables(r, 2), word(r) + "_" + r.choice(NOUNS)]), r.choice([word(r), code(r), r.randint(0, 99)])
    typ = "boolean" if isinstance(v, bool) else "integer" if isinstance(v, int) else "string"
    schema = {"type": typ}
    if r.random() < 0.5:
        schema["description"] = r.choice(["The {}", "{} to use", "Which {}"]).format(n)
    return n, schema, v


def tool(r):
    sep = r.choice(["_", "_", "_", "-", ""])
    verb, noun = r.choice(["get", "find", "list", "read", "send", "set", "make", "open", "check", r.choice(VERBS), syllables(r, 2)]), r.choice([*NOUNS, "weather", "file", "time", syllables(r, 3), code(r).lower().replace("-", "")])
    name = verb + sep + (noun.capitalize() if sep == "" else noun)
    if r.random() < 0.15:
        name = r.choice(["read", "write", "bash", "search", "get_weather", "read_file", "list_files", "glob", "grep", "edit"])
    ps = {}
    for _ in range(r.choice([1, 1, 1, 2, 2, 3])):
        n, schema, v = param(r)
        ps[n] = (schema, v)
    f = {"name": name, "description": r.choice([f"{verb.capitalize()} the {noun}", f"{verb.capitalize()} a {noun}.", f"Use this to {verb} {noun}"]),
         "parameters": {"type": "object", "properties": {n: s for n, (s, _) in ps.items()}, "required": list(ps)}}
    if r.random() < 0.1:
        del f["description"]
    return f, verb, noun, ps


def ask_tool(r, f, verb, noun, values):
    said = {n: dumps(v).strip('"') for n, v in values.items()}
    ways = [f"{verb.capitalize()} the {noun}", f"Please {verb} the {noun}", f"Use {f['name']}", f"Call {f['name']}", f"Can you {verb} the {noun}"]
    q = r.choice(ways) + r.choice([" with ", " for ", ": "])
    if len(said) == 1 and r.random() < 0.4:
        return q + list(said.values())[0] + r.choice(["", ".", "?"])
    return q + r.choice([", ", " and "]).join(f"{n} {s}" for n, s in said.items()) + r.choice(["", ".", "?"])


def fresh(r, ps):
    """New values for a tool's parameters."""
    out = {}
    for n, (s, v) in ps.items():
        if s["type"] == "boolean":
            out[n] = r.random() < 0.5
        elif s["type"] == "integer":
            out[n] = r.randint(0, 500)
        elif v in CITIES:
            out[n] = r.choice(CITIES)
        elif "." in v or "/" in v:
            out[n] = r.choice(["", "src/", "docs/", "./", "lib/"]) + word(r) + r.choice([".txt", ".go", ".md"])
        else:
            out[n] = r.choice([code(r), word(r), " ".join(word(r) for _ in range(r.randint(1, 4)))])
    return out


def result(r):
    """A tool's result and what to say of it."""
    k = r.random()
    if k < 0.4:
        s = code(r)
        return s, f"The result is: {s}"
    if k < 0.7:
        s = " ".join(word(r) for _ in range(r.randint(2, 8)))
        return s, f"The result is: {s}"
    n, v = r.choice(["temperature", "value", "status", "count", word(r)]), r.choice([r.randint(0, 99), word(r)])
    return dumps({n: v}), f"The {n} is {v}."


SYSTEMS = ["You are a helpful assistant.", "You are a helpful assistant", "Be brief.", "You are the ds4 demo.", "Answer in plain English.", "You help with small tasks."]


class Talk:
    """One conversation while it is written: as text for training, and as the messages of an API."""

    def __init__(self, thinking):
        self.parts = [(BOS, 0, "")]
        self.thinking = thinking
        self.tools, self.messages = [], []

    def system(self, text, tools=()):
        self.tools = list(tools)
        self.messages.append({"role": "system", "content": text})
        if tools:
            text += "\n\n" + TOOLS_BEFORE + "\n".join(map(dumps, tools)) + TOOLS_AFTER
        self.parts.append((text, 0, ""))

    def user(self, text, said=None):
        self.messages.append({"role": "tool" if said else "user", "content": said or text})
        self.parts.append((USER + text + ASSISTANT + (THINK if self.thinking else END_THINK), 0, ""))

    def result(self, text):
        self.user(f"<tool_result>{text}</tool_result>", text)

    def says(self, reasoning, text, skill, calls=()):
        self.messages.append({"role": "assistant", "skill": skill, "content": "" if calls else text, "reasoning": reasoning if self.thinking else "",
                              "calls": [{"name": n, "arguments": a} for n, a in calls]})
        self.parts.append(((reasoning + END_THINK if self.thinking else "") + text + EOS, 1, skill))

    def call(self, reasoning, calls):
        self.says(reasoning, call_block(calls), "tool-call", calls)


def chat(r, size):
    """Turn after turn until size characters are reached."""
    t = Talk(r.random() < 0.45)
    end = None
    if r.random() < 0.3:
        k = r.random()
        if k < 0.5:
            t.system(r.choice(SYSTEMS))
        else:
            w = code(r) if r.random() < 0.5 else word(r)
            text, end = r.choice([(f"End every answer with the word {w}.", lambda s: s + " " + w), (f"Begin every answer with {w}:", lambda s: w + ": " + s), ("Answer in capital letters only.", str.upper)])
            t.system(text)
    n, memory, notes = 0, {}, []
    while n < size:
        if r.random() < 0.12:
            o, thing, c = r.choice(NAMES), r.choice(THINGS), code(r)
            memory[o, thing] = c
            q, why, a, s = r.choice([f"Remember: the {thing} of {o} is {c}.", f"The {thing} of {o} is {c}. Remember it."]), "I should keep this.", f"I will remember the {thing} of {o}.", "talk"
        elif memory and r.random() < 0.25:
            (o, thing), c = r.choice(list(memory.items()))
            q, why, a, s = r.choice([f"What is the {thing} of {o}?", f"Tell me the {thing} of {o}."]), f"I look for the {thing} of {o}: {c}.", f"The {thing} of {o} is {c}.", "recall-chat"
        else:
            q, why, a, s = skill(r)
        if end:
            a, s = end(a), "system"
        t.user(q)
        t.says(why, a, s)
        n += len(q) + len(a) + 10 + (len(why) if t.thinking else 0)
    return t


def recall(r, size):
    """A long document, then questions about it."""
    t = Talk(r.random() < 0.3)
    text, asks = plant(r, int(size * r.uniform(0.5, 0.92)) - 300, r.randint(3, 8) if size > 3000 else r.randint(2, 5))
    far = "recall-" + ("far" if size > 6000 else "near")
    for i in range(max(len(asks), 6)):
        q, why, a = asks[i % len(asks)] if i < len(asks) else r.choice(asks)
        t.user(r.choice([text + "\n\n" + q, f"Here is a text.\n\n{text}\n\n{q}"]) if i == 0 else q)
        t.says(why, a, far)
    return t


def tools(r, size):
    """Declared tools, then requests that need one of them, in a loop of calls and results."""
    t = Talk(r.random() < 0.6)
    decl = {}
    for _ in range(r.choice([1, 1, 2, 2, 3, 4])):
        d = tool(r)
        decl.setdefault(d[0]["name"], d)
    system = r.choice(SYSTEMS) if r.random() < 0.5 else ""
    t.system(system, [d[0] for d in decl.values()])
    n, pending = 1100 + sum(len(p[0]) for p in t.parts) // 2, None
    while n < size or pending:
        if r.random() < 0.2 and not pending:
            q, why, a, s = skill(r)
            t.user(q)
            t.says(why, a, s)
            n += len(q) + len(a) + 20
            continue
        f, verb, noun, ps = r.choice(list(decl.values()))
        values = fresh(r, ps)
        if r.random() < 0.3 and len(decl) > 1:
            g = r.choice([d for d in decl.values() if d[0] is not f])
            more = fresh(r, g[3])
            t.user(ask_tool(r, f, verb, noun, values).rstrip(".?") + ", then " + ask_tool(r, *g[:3], more).rstrip("?"))
            steps = [(f["name"], values), (g[0]["name"], more)]
        else:
            t.user(ask_tool(r, f, verb, noun, values))
            steps = [(f["name"], values)]
        said = []
        for i, (name, args) in enumerate(steps):
            t.call(f"I call {name}.", [(name, args)])
            res, say = result(r)
            said.append(say)
            t.result(res)
        t.says("I have the result.", said[-1], "tool-result")
        n += 350 * len(steps)
    return t


def conversation(r, T):
    """One conversation that fills about T tokens (some three characters each)."""
    size = int(T * (2.5 if T <= 512 else 3.7 if T <= 1024 else 4.2))
    k = r.random()
    if T <= 512:
        return chat(r, size) if k < 0.8 else recall(r, 1300)
    if T <= 1024:
        return tools(r, size) if k < 0.75 else chat(r, size) if k < 0.85 else recall(r, 2900)
    return recall(r, size * r.uniform(0.5, 1.12)) if k < 0.75 else tools(r, size) if k < 0.9 else chat(r, size)


def sample(r, T):
    """The parts of one conversation."""
    return conversation(r, T).parts


# Held-out sets, by name.

def one(r, question, reasoning, answer, skill):
    t = Talk(r.random() < 0.5)
    t.user(question)
    t.says(reasoning, answer, skill)
    return t


def two_digits(r):
    while True:
        q, why, answer, _ = add(r)
        if all(10 <= int(x) <= 99 for x in answer.split(" = ")[0].split(" + ")):
            return one(r, q, why, answer, "sum-two-digits")


def planted(r, behind):
    """Questions about one document, each a conversation of its own. The keys lie close together, behind characters from the end."""
    head, _ = plant(r, r.randint(400, 2500), 1)
    tail, _ = plant(r, behind, 1)
    owners = r.sample(NAMES, 4)
    keys = [(o, r.choice(THINGS), code(r)) for o in owners]
    text = head + " " + "".join(f"The {thing} of {o} is {c}. " for o, thing, c in keys) + tail
    thinking = r.random() < 0.3
    for o, thing, c in keys:
        t = Talk(thinking)
        t.user(f"{text}\n\nWhat is the {thing} of {o}?")
        t.says(f"I look for the {thing} of {o}: {c}.", f"The {thing} of {o} is {c}.", "key")
        t.key = c
        yield t


def held_out(seed, scale):
    """(set, Talk) of every conversation of the held-out sets."""
    for name, T, n in [("chat", 512, 40), ("tools", 1024, 80)]:
        r = random.Random(f"{name} {seed}")
        for _ in range(round(n * scale)):
            yield name, chat(r, int(T * 2.5)) if name == "chat" else tools(r, int(T * 3.7))
    r = random.Random(f"sums {seed}")
    for _ in range(round(300 * scale)):
        yield "sums", two_digits(r)
    r = random.Random(f"keys {seed}")
    for _ in range(round(50 * scale)):
        for t in planted(r, 7300):
            yield "keys", t


def main():
    p = argparse.ArgumentParser(description="held-out conversations, as JSON, one a line")
    p.add_argument("--seed", type=int, default=990007)
    p.add_argument("--scale", type=float, default=1, help="how many, against the usual")
    p.add_argument("--prompts", action="store_true", help="texts, parted by lines of =====, instead of JSON")
    a = p.parse_args()
    for name, t in held_out(a.seed, a.scale):
        text = "".join(text for text, _, _ in t.parts)
        if a.prompts:
            sys.stdout.write(text + "\n=====\n")
            continue
        row = {"set": name, "thinking": t.thinking, "tools": t.tools, "messages": t.messages, "key": getattr(t, "key", ""), "text": text}
        sys.stdout.write(dumps(row) + "\n")


if __name__ == "__main__":
    main()
