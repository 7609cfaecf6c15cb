"""RSS 2.0 of podcasts, with what Apple's directory and players ask for besides."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from email.utils import format_datetime
from xml.etree import ElementTree

from greenroom_platform.domain.task_records import Listed
from greenroom_platform.http.handler_words import mentions
from greenroom_platform.models import in_utc

_ITUNES = "http://www.itunes.com/dtds/podcast-1.0.dtd"
_ATOM = "http://www.w3.org/2005/Atom"
# What XML 1.0 cannot have, not even as a reference. Prevents: a title has a control sign · no player can read the feed.
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

ElementTree.register_namespace("itunes", _ITUNES)
ElementTree.register_namespace("atom", _ATOM)


@mentions()  # its elements are no headers
class Feed:
    """A feed.

    Arguments:
        site: where the service is, as `https://host`.
        address: of the feed itself.
    """

    def __init__(self, site: str, address: str, *, title: str, description: str, listed: bool = True) -> None:
        self._site = site
        self._rss = ElementTree.Element("rss", version="2.0")
        self._channel = ElementTree.SubElement(self._rss, "channel")
        _add(self._channel, "title", title)
        _add(self._channel, "link", f"{site}/")
        _add(self._channel, "description", description)
        _add(self._channel, "language", "en")
        _add(self._channel, "generator", "Greenroom")
        link = ElementTree.SubElement(self._channel, f"{{{_ATOM}}}link", rel="self", href=address)
        link.set("type", "application/rss+xml")
        _add(self._channel, f"{{{_ITUNES}}}author", "Greenroom")
        _add(self._channel, f"{{{_ITUNES}}}explicit", "false")
        if not listed:
            _add(self._channel, f"{{{_ITUNES}}}block", "Yes")

    def add(self, podcasts: Iterable[Listed], titles: dict[str, str]) -> None:
        """Add podcasts that can be heard.

        Arguments:
            titles: of their topics, by the topics' ids.
        """
        for one in podcasts:
            if one.stored is None or not one.audible:
                continue
            item, task = ElementTree.SubElement(self._channel, "item"), one.task
            made = in_utc(task.created_at)
            _add(item, "title", f"{titles.get(task.topic_id, task.topic_id)}, {made.day} {made:%B %Y}")
            ElementTree.SubElement(item, "guid", isPermaLink="false").text = task.podcast_id
            _add(item, "pubDate", _moment(made))
            enclosure = ElementTree.SubElement(item, "enclosure")
            enclosure.set("url", f"{self._site}/api/v1/podcasts/{task.podcast_id}/audio.webm")
            enclosure.set("length", str(one.stored.size))
            enclosure.set("type", "audio/webm")
            if one.stored.duration is not None:
                _add(item, f"{{{_ITUNES}}}duration", str(round(one.stored.duration)))

    def xml(self) -> bytes:
        """The feed, in UTF-8."""
        whole: bytes = ElementTree.tostring(self._rss, encoding="utf-8", xml_declaration=True)
        return whole


def _add(parent: ElementTree.Element, name: str, text: str) -> None:
    ElementTree.SubElement(parent, name).text = _NO_XML.sub("\ufffd", text)


def _moment(moment: datetime) -> str:
    """As RFC 822 has it, which RSS asks for."""
    return format_datetime(moment, usegmt=True)
