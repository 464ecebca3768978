"""Keep keys and passwords out of everything that is written, printed or sent.

A secret is recognised in one of four ways: by the name it is assigned to (`api_key=...`, `Authorization: Bearer ...`),
by its place in a URL, by its form (`ghp_...`, `AKIA...`, a JWT, a private key), or by its value, if an environment
variable with such a name has the same value. Imports no heavy modules: the command line needs it before anything else.
"""

import base64
import binascii
import os
import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Any

HIDDEN = "<hidden>"

# Names. A name counts only at the end of a word: `token` in `hf_token` and `accessToken`, not in `max_tokens`.
_KEYS = """access account api auth client deploy encryption license master private secret service session shared
    signing ssh storage subscription wandb"""
_TOKENS = """access api auth bearer bot csrf deploy gh github gitlab hf id login oauth personal push refresh security
    session user wandb"""
_OF_TEXT = """a bos class cls commonest each end eos every first last mask next no one pad per sep special start stop
    unk unknown"""
_PASSES = "admin db ftp ldap mail my mysql pg proxy redis root smtp sudo user"


def _any(words: str) -> str:
    return f"(?:{'|'.join(words.split())})"


_NOT_OF_TEXT = "".join(f"(?<!{word}[ _-])" for word in _OF_TEXT.split())  # `pad_token`, `nats_per_token`
_WORD_BEGINS = r"(?:(?<![A-Za-z])|(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]))"
_CERTAIN = rf"pass(?:words?|wd|phrase|code)|{_any(_KEYS)}[ _-]?keys?(?:[_-]?id)?|{_any(_TOKENS)}[ _-]?tokens?"
_NAMES = (
    rf"{_NOT_OF_TEXT}token|secrets?|credentials?|authorization|(?:set-)?cookie|pwd?|auth|jwt|dsn|sas|{_CERTAIN}"
    rf"|{_any(_PASSES)}[_-]?pass|client[_-]?secret|connection[ _-]?string|webhook(?:[_-]?url)?"
    rf"|session[_-]?id|creds|otp|passwort|kennwort"
)
_NAME = rf"(?:{_WORD_BEGINS}(?i:{_NAMES})|(?i:pass(?:words?|wd|phrase)|api[_-]?keys?))"
_SECRET_NAME = re.compile(rf"{_NAME}$")
_PARTS = ("token", "secret", "pass", "pw", "key", "credential", "auth", "cookie", "jwt", "dsn", "sas", "hook", "string",
          "session", "cred", "otp", "wort")  # fmt: skip

# Values that are assigned to a name.
_ASSIGNED = re.compile(rf"{_NAME}(?P<close>[\\'\"\])]{{0,4}})[ \t]*(?P<sign>=>|:=|=|:(?!//)|%3[ADad])[ \t]*")
_KEY = re.compile(r"[+~\w.@/-]+")
_TEXT_BEFORE = re.compile(r"(?P<quote>['\"]?)[+~\w.@/-]*$")
_QUOTED = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|\\\"(?:[^\"\\]|\\[^\"])*\\\"", re.DOTALL)
_SCHEME = re.compile(r"(?i:bearer|basic|token|apikey|negotiate)[ \t]+\S+|(?i:digest|aws4-hmac-sha256)[ \t][^\n]*")
_BLOCK = re.compile(r"[|>][^\n]*(?:\n(?:[ \t]+[^\n]*)?)*")
_PLAIN = re.compile(
    r"(?:\$\{[^,{}]*\}|null|none|true|false|\?\?\?|<hidden>|''|\"\"|)(?=[\s,;)\]}]|<hidden>|$)", re.IGNORECASE
)
_OF_A_MESSAGE = re.compile(
    r"(?:needs?|should|must|is|was|has|cannot|unknown|names|takes|expected|not|may)\s", re.IGNORECASE
)
_BEHIND = re.compile(rf"(?:{_OF_A_MESSAGE.pattern}|(?:null|none|true|false)[ \t]+)(?P<value>\S+)", re.IGNORECASE)
# Ambiguous names: only values that look random are hidden after them.
_UNSURE = re.compile(
    rf"(?P<before>{_WORD_BEGINS}(?i:pass|tokens|bearer|pin|licen[sc]e|sig"
    r"|(?:secret|password|token|api[_-]?key)[_-](?:val(?:ue)?|str(?:ing)?|text|of[_-]\w+))"
    r"['\"]?[ \t]*(?:=|:(?!//))[ \t]*['\"]?)(?P<value>[^\s'\",;&\])}]+)"
)
_TOOL = re.compile(
    r"(?P<before>\bsshpass[ \t]+-p[ \t]*|\b(?:mysql|mariadb)\w*(?:[ \t]+\S+){0,8}?[ \t]+-p)"
    r"(?!<hidden>)(?:'[^']*'|\"[^\"]*\"|\S+)"
)

# Without a separator: `--token x`, `password x`, `the token of the server is x`.
_FLAG = re.compile(rf"(?P<before>(?<!\S)--?[\w-]*{_NAME}[ \t]+)(?!-|<hidden>)(?:'[^']*'|\"[^\"]*\"|\S+)")
_LOGIN = re.compile(r"(?P<before>(?<!\S)(?:-u|--user)[ =]+)[^\s:]+:\S+")
_NO_VALUE = _any(
    "a accuracy also an and are as at auth authentication based be been but by can cannot did do does empty exists "
    "expired field file files for found from given has hash have here id if in incorrect invalid is it length manager "
    "may missing must name needs never no nor not of on only or policy prompt protected required reset rotation set "
    "should so that the then there this to too unknown unset value values variable was when which will with would wrong"
)
_SAID = re.compile(
    rf"(?P<before>{_WORD_BEGINS}(?i:{_CERTAIN})[ \t]+(?:(?:is|was)[ \t]+)?)(?!(?i:{_NO_VALUE})\b|[=:<])\S+"
)
_SAID_OF = re.compile(
    rf"(?P<before>{_NAME}(?:(?:[ \t]+[A-Za-z'-]+){{0,5}}?(?:[ \t]+(?:is|was)|[ \t]*[:=])|)[ \t]+)(?P<value>[^\s:=<]\S*)"
)

# In a URL.
_USER = re.compile(r"://(?:[^/\s'\"]+|[^/\s'\":@]+:(?!\d+/)[^\s'\"@]*)@")
_USER_ALONE = re.compile(r"(?P<before>(?<![^\s'\"=,])[\w.+-]+:)[^\s:@/'\"]+@(?!sha256:)(?=\w)")
_QUERY = re.compile(
    r"(?P<before>[?&;](?:[\w-]*(?:signature|credential|security-token)|sig|sas|key|auth|pass|pwd|pw|jwt|session|hmac)=)"
    r"[^&\s'\"#]+",
    re.IGNORECASE,
)
_HOOK = re.compile(r"(?P<before>(?:hooks\.slack\.com/services|discord(?:app)?\.com/api/webhooks)/)[^\s'\"]+")

# Secrets that are recognised by their form.
_FORMS = re.compile(
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\Z)"
    r"|(?<![A-Za-z0-9_])(?:"
    r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])|gh[oprsu]_[A-Za-z0-9]{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}"
    r"|hf_[A-Za-z0-9]{16,}|(?<!-)sk-(?=(?:[A-Za-z0-9]+[-_])*(?=[A-Za-z]*\d)\d*[A-Za-z][A-Za-z0-9]{7,})[\w-]{16,}|[rs]k_(?:live|test)_\w{10,}|xox[a-z]-[\w-]{8,}|xapp-[\w-]{8,}"
    r"|AIza[\w-]{30,}|ya29\.[\w-]{8,}|GOCSPX-[\w-]{8,}|npm_[A-Za-z0-9]{30,}|pypi-(?=[\w-]*\d)[\w-]{32,}|dckr_pat_[\w-]{16,}"
    r"|dop_v1_[a-f0-9]{32,}|dapi[a-f0-9]{32}|SG\.[\w-]{16,}\.[\w-]{16,}|wandb_v\d_\w{16,}|local-[a-f0-9]{40}"
    r"|r8_[A-Za-z0-9]{30,}|gsk_[A-Za-z0-9]{30,}|nvapi-[\w-]{30,}|lsv2_\w{16,}|\d{8,10}:[\w-]{35}(?![\w-])"
    r"|AGE-SECRET-KEY-1[A-Z0-9]{16,}|eyJ[\w-]{4,}\.[\w-]{4,}\.[\w-]*(?:\.[\w-]+){0,2}"
    r")",
    re.DOTALL,
)
_BEARER = re.compile(r"(?P<before>\b(?:Bearer|bearer|BEARER)[ \t]+)(?P<value>[\w.~+/=-]{4,})")
_BASIC = re.compile(r"(?P<before>\b(?i:basic)[ \t]+)(?P<value>[A-Za-z0-9+/]{4,}={0,2})")
_FORTY = re.compile(r"(?<![\w/@+])(?:[0-9a-f]{40}|[A-Za-z0-9/+]{40})(?![\w/+])")  # a key of W&B, a secret key of AWS
_HASH = re.compile(
    r"(?:commit|rev(?:ision)?|sha-?1?|git|hash|fingerprint|digest|checksum|etag|tree|blob|head|version)\W{0,5}$",
    re.IGNORECASE,
)

_MARKS = ".,;:!?()[]{}'\""


def names_secret(key: str) -> bool:
    """Whether the value of this key is a secret: `logger.x.api_key`, not `data.max_tokens`."""
    return bool(_SECRET_NAME.search(key))


def redact_text(text: str, key: str = "") -> str:
    """Return a text with secrets hidden; this is idempotent. `key` is the key of the text, if it is a value.

    Commits and fingerprints stay: forty hexadecimal digits are a key of W&B unless they follow a word such as
    `commit` or are part of a path.
    """
    lower = text.lower()
    of_column = key.startswith("data.") and key != "data.path"  # names and labels in the user's data
    if any(part in lower for part in _PARTS):  # most texts contain none, and the patterns of names are slow
        text = _FLAG.sub(rf"\g<before>{HIDDEN}", _hide_assigned(text, of_column))
        text = _SAID_OF.sub(_if_random, text if of_column else _SAID.sub(rf"\g<before>{HIDDEN}", text))
    text = _TOOL.sub(rf"\g<before>{HIDDEN}", _UNSURE.sub(_if_mixed, text))
    text = _LOGIN.sub(rf"\g<before>{HIDDEN}", text)
    text = _USER_ALONE.sub(rf"\g<before>{HIDDEN}@", _USER.sub(f"://{HIDDEN}@", text))
    for pattern in (_QUERY, _HOOK):
        text = pattern.sub(rf"\g<before>{HIDDEN}", text)
    text = _BASIC.sub(_if_login, _BEARER.sub(_if_random, _FORMS.sub(HIDDEN, text)))
    text = _FORTY.sub(lambda found: _hide_forty(found, key), text)
    known = _known(tuple(_environment()))
    return known.sub(HIDDEN, text) if known else text


def redact_override(override: str, key: str = "") -> str:
    """As `redact_text`, for one `key=value` of a command line: the whole value is hidden if its key names a secret."""
    name, _, value = override.partition("=")
    if value and _KEY.fullmatch(name) and names_secret(name) and not _PLAIN.fullmatch(value):
        return f"{name}={HIDDEN}"
    if value and name.lstrip("+").startswith("data.") and _KEY.fullmatch(name):
        return f"{name}={redact_text(value, name.lstrip('+'))}"
    return redact_text(override, key)


def redact(value: Any, key: str = "") -> Any:
    """Return plain data with secrets hidden: values of keys that name a secret, and secrets in any text."""
    if names_secret(key) and not (value in (None, "", [], {}) or isinstance(value, bool)):
        return HIDDEN
    if isinstance(value, dict):
        return {
            redact_text(k) if isinstance(k, str) else k: redact(v, f"{key}.{k}" if key else str(k))
            for k, v in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [redact(v, key) for v in value]
    return redact_override(value, key) if isinstance(value, str) else value


def _hide_assigned(text: str, only_random: bool = False) -> str:
    pieces, done = [], 0
    for found in _ASSIGNED.finditer(text):
        start = found.end()
        if found.start() < done:
            continue
        of_message = ":" in found["sign"] and _OF_A_MESSAGE.match(text, start)  # `data.token: needs a value`
        if of_message or _PLAIN.match(text, start):
            behind = _BEHIND.match(text, start) if ":" in found["sign"] else None
            if behind and _is_mixed(behind["value"]):
                pieces += [text[done : behind.start("value")], HIDDEN]
                done = behind.end()
            continue
        line = text.rfind("\n", 0, found.start()) + 1
        before = _TEXT_BEFORE.search(text, max(line, found.start() - 200), found.start())
        begin = before.start() if before else found.start()
        quote = before["quote"] if before and not found["close"] else ""
        first = found["sign"] == ":" and not found["close"] and not text[line:begin].strip(" \t-")
        end = _end(text, start, quote, first)  # in YAML the rest of the line is the value
        if text[start:end] in ("", HIDDEN) or (only_random and not _is_odd(text[start:end])):
            continue
        pieces += [text[done:start], HIDDEN]
        done = end
    return "".join([*pieces, text[done:]])


def _end(text: str, start: int, quote: str, to_line_end: bool) -> int:
    """Return the end of the value that begins at `start`."""
    if quote and (closing := text.find(quote, start)) != -1:
        return closing
    if found := _QUOTED.match(text, start) or _SCHEME.match(text, start):
        return found.end()
    stop = len(text) if (newline := text.find("\n", start)) == -1 else newline
    if to_line_end and text[start] in "|>" and (block := _BLOCK.match(text, start)):
        return block.end()
    if to_line_end:
        return stop
    if text[start] in "[{(\\":
        return _closing(text, start, stop)
    return next((place for place in range(start, stop) if text[place].isspace()), stop)


def _closing(text: str, start: int, stop: int) -> int:
    depth = 0
    for place in range(start, stop):
        depth += (text[place] in "[{(") - (text[place] in "]})")
        if depth == 0 and text[place] in "]})":
            return place + 1
    return stop


def _if_random(found: re.Match[str]) -> str:
    return f"{found['before']}{HIDDEN}" if _is_odd(found["value"]) else found[0]


def _if_mixed(found: re.Match[str]) -> str:
    return f"{found['before']}{HIDDEN}" if _is_mixed(found["value"]) else found[0]


def _is_odd(value: str) -> bool:
    """Whether a value is not a natural word: it has letters next to digits or symbols."""
    value = value.strip(_MARKS)
    odd = any(c.isalpha() for c in value) and any(c.isdigit() or c in "!#$%^&*" for c in value)
    return odd and len(value) >= 5


def _is_mixed(value: str) -> bool:
    """Whether a value is not even a name such as `resnet50`: letters and digits alternate often, or in mixed case."""
    value = value.strip(_MARKS)
    kinds = [c.isdigit() for c in value if c.isalnum()]
    cases = any(c.islower() for c in value) and any(c.isupper() for c in value)
    changes = sum(one != other for one, other in pairwise(kinds))
    return len(value) >= 8 and (changes >= 3 or (changes > 0 and cases)) and HIDDEN not in value


def _if_login(found: re.Match[str]) -> str:
    """Hide a base64 text that decodes to `user:password`."""
    try:
        decoded = base64.b64decode(found["value"], validate=True)
    except binascii.Error:
        return found[0]
    return f"{found['before']}{HIDDEN}" if b":" in decoded else found[0]


def _hide_forty(found: re.Match[str], key: str) -> str:
    value, before = found[0], found.string[max(0, found.start() - 30) : found.start()] or key
    if re.fullmatch("[0-9a-f]{40}", value):
        mixed = not value.isdigit() and not value.isalpha()
        return HIDDEN if mixed and not _HASH.search(before) and not _HASH.search(key) else value
    cases = all(sum(map(case, value)) >= 3 for case in (str.isupper, str.islower))
    return HIDDEN if cases and any(map(str.isdigit, value)) and value.count("/") <= 2 else value


def _environment() -> Iterator[str]:
    """Yield the values of environment variables whose names suggest a secret."""
    for name, value in os.environ.items():
        if _names_secret(name) and len(value) >= 6 and not os.path.exists(value):
            certain = len(value) >= 16 or (any(map(str.isdigit, value)) and not value.isdigit())
            if certain:  # a short word or number may occur anywhere without being the secret
                yield value


_names_secret = lru_cache(maxsize=1024)(names_secret)


@lru_cache(maxsize=8)
def _known(values: tuple[str, ...]) -> re.Pattern[str] | None:
    if not values:
        return None
    longest_first = sorted(map(re.escape, values), key=len, reverse=True)
    return re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(longest_first)})(?![A-Za-z0-9])")
