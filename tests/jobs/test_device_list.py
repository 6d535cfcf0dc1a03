import pytest

from jobs import device_list
from jobs.settings import Settings, SettingsError, load_settings


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("0", (0,)), ("0-3", (0, 1, 2, 3)), ("0,2", (0, 2)), ("4, 0-1", (4, 0, 1)), ("7-7", (7,))],
)
def test_numbers_and_ranges_are_a_list_of_devices(text: str, numbers: tuple[int, ...]) -> None:
    assert device_list.parsed(text) == numbers


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "'' is no list of devices; write numbers and ranges"),
        ("cuda:0", "'cuda:0' is no list of devices"),
        ("0-", "'0-' is no list of devices"),
        ("-1", "'-1' is no list of devices"),
        ("3-1", "'3-1' ends before it begins; write 1-3"),
        ("0-2,1", "'0-2,1' names a device twice"),
        ("0-64", "65 devices; one worker owns 64 at the most"),
    ],
)
def test_what_is_no_list_of_devices_is_refused_with_what_would_be_right(
    text: str, says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        device_list.parsed(text)


@pytest.mark.parametrize(
    ("name", "count"), [("cpu", 1), ("cuda", 1), ("cuda:1", 1), ("cuda:0-3", 4), ("cpu:0,2", 2)]
)
def test_the_name_of_what_a_worker_computes_on_says_how_many_it_owns(name: str, count: int) -> None:
    assert device_list.count_in(name) == count


def test_the_setting_is_such_a_list() -> None:
    assert load_settings(devices="0-2").device_numbers == (0, 1, 2)
    assert Settings().device_numbers == ()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"devices": "a"}, "TUNESMITH_DEVICES: .*'a' is no list of devices"),
        ({"device": "cuda:1", "devices": "0-1"}, "TUNESMITH_DEVICE is cuda:1 and names a device"),
    ],
)
def test_a_wrong_setting_is_named(changes: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        load_settings(**changes)
