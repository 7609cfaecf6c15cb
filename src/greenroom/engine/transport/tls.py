"""TLS to a server: whom we trust, who we are, and what to do about a certificate that is refused.

A certificate is always checked, against the host's name and against those who may sign it; there is no way to switch
that off. What a private network needs instead is said in the address's query.
"""

from __future__ import annotations

import os
import ssl
import threading
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from greenroom.errors import EngineRefused, EngineUnavailable, InvalidInput

OPTIONS = ("cacert", "cert", "key", "server_name")
"""What may stand in the query of an address with TLS; the files are named as `valkey-cli` names them."""
_FORM = "use valkeys://host:6379?" + "&".join(f"{name}=…" for name in OPTIONS)

_FILES = "put a whole file in PEM there, and a key without a password"

# Of OpenSSL's X509_V_ERR_*.
_NOT_YET, _EXPIRED, _NAME, _IP = 9, 10, 62, 64
_SLOPPY = range(80, 94)
"""What only a strict check finds, which Python from 3.13 on asks for: from PATHLEN_INVALID_FOR_NON_CA to
EXTENSIONS_REQUIRE_VERSION_3."""


@dataclass(slots=True)
class Tls:
    """How a connection is encrypted.

    Arguments:
        cacert: a file of the certificates, in PEM, that may sign the server's. None: those of the system.
        cert: a file of our own certificate, for a server that wants one (`tls-auth-clients`).
        key: a file of that certificate's key. None: it is in the file of the certificate.
        server_name: the name that the server's certificate must carry. None: the host's as the address has it, and
            in a cluster each node's as the cluster tells it.
    """

    cacert: str | None = None
    cert: str | None = None
    key: str | None = None
    server_name: str | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)
    _made: tuple[tuple[float, ...], ssl.SSLContext] | None = field(default=None, init=False, repr=False, compare=False)

    @classmethod
    def parse(cls, query: str, field: str) -> Tls:
        """Read an address's query.

        Arguments:
            field: the name under which an error names the address.

        Raises:
            InvalidInput: for an option that is not known, or a file that is not there or not what it should be.
        """
        options: dict[str, str] = {}
        for name, value in parse_qsl(query, keep_blank_values=True):
            if name not in OPTIONS:
                raise InvalidInput(field, f"the option {name!r} is not known", _FORM)
            if name in options or not value:
                raise InvalidInput(field, f"the option {name!r} needs one value", _FORM)
            options[name] = value
        if "key" in options and "cert" not in options:
            raise InvalidInput(field, "a key needs its certificate", _FORM)
        tls = cls(**options)
        for name in ("cacert", "cert", "key"):
            if name in options:
                _readable(options[name], name, field)
        anyone = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        for option, load in (("cacert", tls._trust), ("cert", tls._own)):
            try:
                load(anyone)
            except OSError as error:
                raise InvalidInput(field, f"{tls._named(option)} cannot be used: {_plain(error)}", _FILES) from None
        return tls

    def context(self) -> ssl.SSLContext:
        """What connections are made with; made anew where a file has changed, so that certificates can be renewed.

        Takes a tenth of a second where the system's certificates are read: not for the event loop.

        Raises:
            EngineUnavailable: when a file cannot be used, as one that is only half written; it names the file.
        """
        with self._lock:
            option = "cacert"
            try:
                stamp = self._stamp("cacert")
                option = "cert"
                stamp += self._stamp("cert", "key")
                if self._made is None or self._made[0] != stamp:
                    option = "cacert"
                    # docs/decisions/0008-certificates-are-always-checked.md
                    context = ssl.create_default_context(cafile=self.cacert)
                    option = "cert"
                    self._own(context)
                    self._made = stamp, context
            except OSError as error:
                said = f"{self._named(option)} cannot be used: {_plain(error)}; {_FILES}: it is read again then"
                raise EngineUnavailable(said) from None
            return self._made[1]

    def _stamp(self, *options: str) -> tuple[float, ...]:
        files = (getattr(self, option) for option in options)
        return tuple(os.stat(file).st_mtime for file in files if file is not None)

    def _named(self, option: str) -> str:
        """An option with its file, as the address has it; a certificate with its key, which can be wrong as well."""
        named = f"{option}={getattr(self, option)}"
        return f"{named} with key={self.key}" if option == "cert" and self.key is not None else named

    def _trust(self, context: ssl.SSLContext) -> None:
        if self.cacert is not None:
            context.load_verify_locations(self.cacert)

    def _own(self, context: ssl.SSLContext) -> None:
        if self.cert is not None:
            # Without the callback OpenSSL would ask for the key's password at the terminal.
            context.load_cert_chain(self.cert, self.key, password=lambda: "")


def refusal(error: ssl.SSLError, host: str) -> EngineRefused:
    """What a failed handshake means, and what to do about it.

    Arguments:
        host: the name that the certificate had to carry.
    """
    text = _plain(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        match error.verify_code:
            case code if code == _EXPIRED:
                said = "its certificate has expired; renew it on the server"
            case code if code == _NOT_YET:
                said = "its certificate is not valid yet; compare the clocks of both machines"
            case code if code in (_NAME, _IP):
                said = f"its certificate is not for {host}; connect by a name in it, or add server_name=NAME"
            case code if code in _SLOPPY:
                # The message names the extension: "Missing Authority Key Identifier".
                said = (
                    f"Python 3.13 and later refuse its certificate, or that of who signs it ({error.verify_message}); "
                    "make that one anew with the extensions that RFC 5280 wants"
                )
            case _:
                said = (
                    f"its certificate is signed by nobody we trust ({error.verify_message}); "
                    "add cacert=FILE with the certificate of who signs it"
                )
    elif "WRONG_VERSION_NUMBER" in text or "RECORD_LAYER_FAILURE" in text:
        said = "it does not speak TLS; use its port for TLS, or valkey:// without"
    elif "CERTIFICATE_REQUIRED" in text or "HANDSHAKE_FAILURE" in text or "BAD_CERTIFICATE" in text:
        said = f"it refuses our certificate ({text}); add cert=FILE and key=FILE that it accepts"
    elif "UNKNOWN_CA" in text or "CERTIFICATE_EXPIRED" in text or "DECRYPT_ERROR" in text:
        said = f"it refuses our certificate ({text}); renew it, signed by one that the server trusts"
    else:
        said = f"no TLS with it: {text}"
    return EngineRefused(said)


def given_up(tls: Tls, error: Exception, met: Exception | None, *, begun: bool) -> Exception:
    """What it means that a log-in over TLS came to no end.

    A server tells what it thinks of our certificate only after our side of the handshake is done, and what it tells may
    be lost when it hangs up; one that does not speak TLS waits for the end of what it takes for a line.

    Arguments:
        error: what the caller would learn otherwise.
        met: what the socket failed with, where it did.
        begun: whether the handshake of TLS was done.
    """
    if isinstance(met, ssl.SSLError):
        return refusal(met, "")
    if not begun and isinstance(error, TimeoutError):
        remedy = "if it does not speak TLS there, use its port for TLS (a cluster's nodes: tls-cluster yes)"
        return EngineUnavailable(f"no answer to the handshake in time; {remedy}, or valkey:// without")
    if begun and tls.cert is None and isinstance(error, EngineUnavailable):
        return EngineUnavailable(f"{error}; if it wants a certificate of its clients, add cert=FILE and key=FILE")
    return error


def _plain(error: OSError) -> str:
    return (error.reason if isinstance(error, ssl.SSLError) else error.strerror) or str(error)


def _readable(path: str, name: str, field: str) -> None:
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise InvalidInput(field, f"{name}={path} cannot be read: {error.strerror}", "name a file in PEM") from None
