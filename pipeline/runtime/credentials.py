"""URLs without their secrets: for logs, errors, status lines and process titles."""

from __future__ import annotations

import logging
import re

import setproctitle

# Greedy to the last @: a password may hold any character, quotes and blanks too, and hiding too
# much costs nothing.
_USERINFO = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?:[^\s/:@]*:[^\r\n]*|\S*)@")
_QUERY_SECRET = re.compile(
    # some cameras want /user=admin_password=..._channel=1 in the path
    r"(?i)(?P<key>[?&;/_](?:user(?:name)?|usr|pass(?:word|wd|phrase)?|pwd|token|auth|key|secret"
    r"|streamid)=)(?P<value>[^&\s]+)"
)

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S*\s*")


def without_credentials(text: str) -> str:
    """Any text with user names, passwords and tokens of the URLs inside replaced by ***."""
    return _USERINFO.sub(r"\g<scheme>***@", _QUERY_SECRET.sub(_hidden_value, text))


def without_addresses(text: str) -> str:
    """Any text without the URLs in it, so `rtsp://10.0.0.7/s1: no answer` is `no answer`.

    A URL ends at a blank; what stands before one that does not begin the text stays.
    """
    return _URL.sub("", without_credentials(text)).strip() or "not reachable"


def _hidden_value(match: re.Match[str]) -> str:
    # an @ stays: what looks like a query may be the middle of a password
    return match["key"] + ("***@" if "@" in match["value"] else "***")


class CredentialFilter(logging.Filter):
    """Cleans every record that passes a handler, whoever logged it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep the record, cleaned; an exception's text is folded into the message."""
        message = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            message += f": {record.exc_info[1]}"
            record.exc_info = record.exc_text = None
        record.msg, record.args = without_credentials(message), None
        return True


def hide_arguments(command: str) -> None:
    """Replace the process title, which any user of the machine can read, by the bare command."""
    setproctitle.setproctitle(f"bauta {command}".strip())
