"""HTTP as a guest: a name, pauses between requests, and growing waits before a request is tried again."""

import contextlib
import email.utils
import http.client
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from xml.etree import ElementTree

from tqdm import tqdm

from tsgen.config import DownloadSettings

USER_AGENT = "tsgen/0.1 (study of site-specific strong motion; Python)"
WORTH_ANOTHER_ATTEMPT = (429, 500, 502, 503, 504)
NOTHING = (204, 404, 410)  # FDSN services say "no data" by 204 or 404; a service that was closed says 410


class ServerTrouble(Exception):
    """A request that the server would not, or could not, answer: one sentence."""


class Refused(ServerTrouble):
    """What it will not answer, however often it is asked."""


class NothingThere(Exception):
    """The server has no such data."""


class WrongAnswer(ValueError):
    """Raised by a check of what came: another attempt may bring what was asked for."""


class Web:
    """GET requests by the manners of ``settings``; ``wait`` (seconds) and ``now`` () may stand in for the clock."""

    def __init__(self, settings=DownloadSettings(), wait=time.sleep, now=time.time):  # noqa: B008 (frozen)
        self.settings, self.wait, self.now = settings, wait, now
        self._last = -1e9

    def get(self, url, check=lambda content: content, **parameters):
        """What ``check`` makes of the answer's bytes; parameters None or "" are left out, a_b is written a-b.
        Raises NothingThere, or ServerTrouble after the last attempt; ``check`` raises WrongAnswer for another one."""
        given = {name.replace("_", "-"): value for name, value in parameters.items() if value not in (None, "")}
        url += "?" + urllib.parse.urlencode(given, safe=",:*?-") if given else ""
        host = urllib.parse.urlsplit(url).netloc
        for wait_in_s in (*self.settings.waits_in_s, None):
            self.wait(max(0.0, self._last + self.settings.pause_in_s - self.now()))
            asked_for_in_s = 0.0
            try:
                return check(self._once(url))
            except urllib.error.HTTPError as error:
                if error.code in NOTHING:
                    raise NothingThere(url) from None
                told, asked_for_in_s = _said(error), self._retry_after(error)
                if error.code not in WORTH_ANOTHER_ATTEMPT:
                    raise Refused(f"{host} refuses ({told}); asked was {url}") from None
            except WrongAnswer as error:
                told = str(error)
            except (OSError, http.client.HTTPException) as error:  # no connection, a stall, one that broke off
                told = f"{type(error).__name__}: {getattr(error, 'reason', None) or error}"
            finally:
                self._last = self.now()
            if asked_for_in_s > self.settings.longest_wait_in_s:
                raise ServerTrouble(f"{host} asks to come back in {asked_for_in_s / 60:.0f} minutes: do so")
            if wait_in_s is not None:
                wait_in_s = max(wait_in_s, asked_for_in_s)
                tqdm.write(f"{host}: {told}; once more in {wait_in_s:.0f} s", file=sys.stderr)
                self.wait(wait_in_s)
        attempts = len(self.settings.waits_in_s) + 1
        raise ServerTrouble(f"{host} does not answer after {attempts} attempts ({told}); try again later")

    def _once(self, url):
        request = urllib.request.Request(url, headers={"User-Agent": USER_AGENT})
        with urllib.request.urlopen(request, timeout=self.settings.timeout_in_s) as response:
            if response.status in NOTHING:
                raise NothingThere(url)
            return response.read()

    def _retry_after(self, error):
        """Seconds that the header Retry-After asks for, given as such or as a date; 0 without."""
        text = error.headers.get("Retry-After", "").strip()
        with contextlib.suppress(ValueError):
            return float(text) if text.isdecimal() else email.utils.parsedate_to_datetime(text).timestamp() - self.now()
        return 0.0


def xml(root):
    """A check that lets well-formed XML pass whose root element is named ``root``, in any namespace."""

    def check(content):
        if b"<!ENTITY" in content:  # could expand without end
            raise WrongAnswer("it sends XML with entities")
        try:
            name = ElementTree.fromstring(content).tag.rpartition("}")[2]
        except ElementTree.ParseError as error:
            raise WrongAnswer(f"it sends no {root}, or half of it ({error})") from None
        if name.lower() != root.lower():
            raise WrongAnswer(f"it sends {name[:40]} in place of {root}")
        return content

    return check


def _said(error):
    """The status, and the first line of what a service writes beneath it."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        first = error.read(2000).decode("utf-8", "replace").strip().partition("\n")[0]
        if first and not first.startswith("<"):
            return f"HTTP {error.code}: {first[:120]}"
    return f"HTTP {error.code} {error.reason}"
