"""Forms of addresses: one that readers may take for different hosts is refused."""

from urllib.parse import urlsplit

import httpcore
import httpx
import pytest
from hypothesis import example, given, strategies

from jobs.addresses import PrivateTargets
from jobs.errors import SourceForbiddenError
from jobs.web_addresses import WebAddress

NOTHING = PrivateTargets.of(())


@pytest.mark.parametrize(
    ("text", "origin", "target"),
    [
        ("https://Example.ORG", "https://example.org", "/"),
        ("HTTP://example.org:80/a%20b?c=d#e", "http://example.org", "/a%20b?c=d"),
        ("https://example.org:8443/a", "https://example.org:8443", "/a"),
        ("https://example.org?a/b", "https://example.org", "/?a/b"),
        ("http://1.1.1.1/", "http://1.1.1.1", "/"),
        ("http://[2606:4700:0::1111]:8080/", "http://[2606:4700::1111]:8080", "/"),
        ("http://xn--mnchen-3ya.de./", "http://xn--mnchen-3ya.de.", "/"),
    ],
)
def test_an_address_is_taken_apart(text: str, origin: str, target: str) -> None:
    address = WebAddress(text, NOTHING)

    assert (address.origin, address.target) == (origin, target)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("file:///etc/passwd", "scheme is 'file'"),
        ("ftp://example.org/a.zip", "scheme is 'ftp'"),
        ("gopher://example.org/1", "scheme is 'gopher'"),
        ("//example.org/a.zip", "no address of the form"),
        ("/etc/passwd", "no address of the form"),
        ("javascript:alert(1)", "no address of the form"),
        ("https:///a.zip", "host is ''"),
        ("https://user:secret@example.org/", "user before an @"),
        ("https://example.org@127.0.0.1/", "user before an @"),
        ("https://example.org\\@127.0.0.1/", "no address of the form"),
        ("https://example.org/a b", "no address of the form"),
        ("https://example.org\r\nX: y/", "no address of the form"),
        ("https://exa\tmple.org/", "no address of the form"),
        ("https://münchen.de/", "xn--"),
        ("https://127。0。0。1/", "no address of the form"),
        ("https://example.org:22/", "port is 22"),
        ("https://example.org:6x/", "no host, or host and port"),
        ("https://example.org:99999/", "port is 99999"),
        ("https://a:1:2/", "no host, or host and port"),
        ("https://exa%6Dple.org/", "write a name or an address"),
        ("http://[::1/", "no host, or host and port"),
        ("http://[nowhere]/", "no IPv6 address"),
        ("http://[fe80::1%25eth0]/", "names a network interface"),
    ],
)
def test_another_form_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(SourceForbiddenError) as refused:
        WebAddress(text, NOTHING)

    assert why in str(refused.value)
    assert "secret" not in str(refused.value)


@given(strategies.text(alphabet="aA1.:/@\\[]%#?-_xé\t;&=", max_size=30))
@example("example.org@1.1.1.1")
@example("example.org#@1.1.1.1")
@example("1.1.1.1\\@example.org")
@example("example.org:80:1.1.1.1")
def test_what_is_accepted_is_the_same_host_to_every_reader(rest: str) -> None:
    text = f"http://{rest}"
    try:
        address = WebAddress(text, NOTHING)
    except SourceForbiddenError:
        return
    assert (urlsplit(text).hostname, urlsplit(text).port or 80) == (address.host, address.port)
    assert httpx.URL(text).host == address.host
    assert httpcore.URL(text).host.decode() == address.host


@pytest.mark.parametrize(
    "host",
    ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0x7f.1", "127.0.0.1.", "017700000001",
     "1.2.3.4.5", "256.1.1.1", "example.0x", "127.0.0.01"],
)  # fmt: skip
def test_a_number_that_only_some_readers_take_for_an_address_is_refused(host: str) -> None:
    with pytest.raises(SourceForbiddenError, match="four decimal numbers"):
        WebAddress(f"http://{host}/", NOTHING)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "169.254.169.254", "[::1]", "[::ffff:7f00:1]", "localhost", "LOCALHOST."]
)
def test_an_address_that_is_not_public_is_refused_at_once(host: str) -> None:
    with pytest.raises(SourceForbiddenError, match="TUNESMITH_PRIVATE_TARGETS"):
        WebAddress(f"http://{host}/", NOTHING)


def test_what_the_operator_allows_is_not_refused() -> None:
    targets = PrivateTargets.of(["127.0.0.0/8"])

    assert WebAddress("http://127.0.0.1:9000/", targets).port == 9000
    assert WebAddress("http://localhost:9000/", targets).host == "localhost"


@pytest.mark.parametrize(
    ("location", "there"),
    [
        ("/b.zip?x=1", "https://example.org/b.zip?x=1"),
        ("b.zip", "https://example.org/a/b.zip"),
        ("//example.net/b.zip", "https://example.net/b.zip"),
        ("https://example.net:8443/b c.zip", "https://example.net:8443/b%20c.zip"),
    ],
)
def test_a_redirect_may_be_relative(location: str, there: str) -> None:
    address = WebAddress("https://example.org/a/a.zip?y=2", NOTHING).joined(location, NOTHING)

    assert address.origin + address.target == there


@pytest.mark.parametrize(
    "location",
    ["http://example.org/", "file:///etc/passwd", "https://10.0.0.1/", "//u@e.org/", "http://[",
     "https://127.0.0.1\\@example.org/", "//\\10.0.0.1/", "https://ä.org/"],
)  # fmt: skip
def test_a_redirect_leads_to_nothing_that_could_not_be_asked_for(location: str) -> None:
    with pytest.raises(SourceForbiddenError):
        WebAddress("https://example.org/", NOTHING).joined(location, NOTHING)


def test_a_message_shows_no_query() -> None:
    assert str(WebAddress("https://example.org/a?token=secret", NOTHING)) == "https://example.org/a"
