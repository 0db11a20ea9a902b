"""Lines of cells: folding, images as half blocks, waveforms, histograms, long texts."""

from __future__ import annotations

import io
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rich.cells import cell_len

from dsmanager.errors import VerificationError
from dsmanager.loading.schema import Leaf
from dsmanager.records.example import RawFeature
from dsmanager.screens.previews.histogram import LabelCounts, draw_histogram
from dsmanager.screens.previews.image import draw_image, thumbnail
from dsmanager.screens.previews.lines import Line, pair, shortened, wrapped
from dsmanager.screens.previews.text import long_text
from dsmanager.screens.previews.waveform import can_draw_waveform, draw_waveform, samples_of

PHOTO = Leaf(("image",), "Image", "uint8", (None, None, 3), packed=False, rank=0)
AUDIO = Leaf(("audio",), "Audio", "int64", (None,), packed=False, rank=0, rate_hz=100)
TEXT = Leaf(("text",), "Text", "string", (), packed=False, rank=0)


def text_of(line: Line) -> str:
    return "".join(piece.text for piece in line)


def encoded(array: np.ndarray, image_format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, image_format)
    return buffer.getvalue()


@settings(deadline=None, max_examples=150)
@given(st.text(max_size=300), st.integers(2, 60), st.integers(0, 8))
def test_folded_text_fits_and_cannot_steer_the_terminal(text: str, width: int, indent: int) -> None:
    for line in wrapped(text, width, indent=min(indent, width - 2)):
        shown = text_of(line)
        assert cell_len(shown) <= width
        assert not any(unicodedata.category(letter) in ("Cc", "Cf", "Cs") for letter in shown)
    assert cell_len(shortened(text, width)) <= width


def test_folding_keeps_every_word_wide_ones_too() -> None:
    text = "one two 数据数据数据数据 three" + "x" * 30
    folded = [text_of(line) for line in wrapped(text, 10)]
    assert "".join(folded).replace(" ", "") == text.replace(" ", "")


def test_a_pair_folds_its_value_in_its_own_column() -> None:
    lines = [text_of(line) for line in pair("name", "value " * 12, 40)]
    assert lines[0].startswith("name         value")
    assert lines[1].startswith(" " * 13 + "value")
    assert [text_of(line) for line in pair("a" * 30, "value", 40)][1] == "  value"
    assert list(pair("name", "", 40)) == []


def test_each_half_of_a_cell_is_one_pixel() -> None:
    pixels = np.array([[[255, 0, 0]], [[0, 255, 0]], [[0, 0, 255]]], np.uint8)
    lines = draw_image(thumbnail(encoded(pixels), PHOTO, 1, 2))
    assert [line[0].colour for line in lines] == [(255, 0, 0), (0, 0, 255)]
    assert [line[0].background for line in lines] == [(0, 255, 0), None]


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "GIF", "BMP"])
@pytest.mark.parametrize("size", [(1, 1), (5, 400), (400, 5), (300, 200)])
def test_images_of_every_format_fit_into_their_cells(
    image_format: str, size: tuple[int, int]
) -> None:
    array = np.full((size[1], size[0], 3), 200, np.uint8)
    lines = draw_image(thumbnail(encoded(array, image_format), PHOTO, 40, 12))
    assert 1 <= len(lines) <= 12
    assert all(1 <= len(line) <= 40 for line in lines)


def test_depth_maps_are_stretched_and_segments_told_apart() -> None:
    depth = Leaf(("depth",), "Image", "uint16", (None, None, 1), packed=False, rank=0)
    ramp = np.array([[1000, 2000]], np.uint16)
    (cells,) = draw_image(thumbnail(encoded(ramp), depth, 2, 1))
    assert (cells[0].colour, cells[1].colour) == ((127, 127, 127), (255, 255, 255))
    segments = Leaf(("s",), "LabeledImage", "uint8", (None, None, 1), packed=False, rank=0)
    (cells,) = draw_image(thumbnail(encoded(np.array([[0, 1, 2]], np.uint8)), segments, 3, 1))
    assert len({cell.colour for cell in cells}) == 3


def test_transparency_and_palettes_are_drawn() -> None:
    clear = np.zeros((2, 2, 4), np.uint8)
    (cells,) = draw_image(thumbnail(encoded(clear), PHOTO, 2, 1))
    assert cells[0].colour == (128, 128, 128)


def test_an_image_that_is_damaged_foreign_or_too_large_is_an_error_that_says_so() -> None:
    whole = encoded(np.zeros((64, 64, 3), np.uint8))
    huge = whole[:16] + (60_000).to_bytes(4) * 2 + whole[24:]
    for data, reason in ((whole[:60], "decoded"), (b"RIFF", "format"), (huge, "too large")):
        with pytest.raises(VerificationError, match=reason):
            thumbnail(data, PHOTO, 10, 10)


def test_a_waveform_reaches_from_lowest_to_highest_sample() -> None:
    samples = np.zeros(400)
    samples[200:] = np.tile([100.0, -100.0], 100)
    *drawn, told = draw_waveform(samples, 20, 3, 100)
    top, middle, bottom = (text_of(line) for line in drawn)
    assert top[:10] == bottom[:10] == chr(0x2800) * 10
    assert top[10:] == middle[10:] == bottom[10:] == chr(0x28FF) * 10
    assert text_of(told) == "4.00 s at 100 Hz, 400 samples, peak 100"


@pytest.mark.parametrize("shape", [(0,), (1,), (3,), (5, 2), (1000, 2)])
def test_waveforms_of_any_length_fit(shape: tuple[int, ...]) -> None:
    samples = np.linspace(-1, 1, int(np.prod(shape))).reshape(shape)
    assert all(cell_len(text_of(line)) <= 30 for line in draw_waveform(samples, 30, 2, None)[:-1])


def test_samples_are_read_as_they_are_stored() -> None:
    packed = np.array([1.5, -2.0], "<f4").tobytes()
    raw = RawFeature("float", [memoryview(packed)])
    stereo = Leaf(("audio",), "Audio", "float32", (None, 2), packed=False, rank=0)
    assert samples_of(stereo, raw).tolist() == [[1.5, -2.0]]
    assert can_draw_waveform(stereo, raw)
    assert not can_draw_waveform(AUDIO, RawFeature("bytes", [memoryview(b"RIFF")]))


def test_a_histogram_shows_labels_that_never_occur_while_there_is_room() -> None:
    counted = LabelCounts("label", "train", 10, ["cat", "[b]dog", "emu"], {0: 6, 1: 3}, 9)
    cat, dog, emu = (text_of(line) for line in draw_histogram(counted, 60, 10))
    assert cat.split()[0] == "cat"
    assert cat.endswith("6  66.7%")
    assert "[b]dog" in dog
    assert cat.count("█") > dog.count("█") > 0 == emu.count("█")
    assert counted.said == "9 of 10 examples of train so far"


def test_of_many_labels_the_frequent_ones_are_shown_and_the_rest_is_counted() -> None:
    counts = {label: label + 1 for label in range(1000)}
    lines = draw_histogram(LabelCounts("label", "train", 500_500, (), counts, 500_500), 40, 11)
    assert [int(text_of(line).split()[0]) for line in lines[:-1]] == list(range(999, 989, -1))
    rest = 500_500 - sum(range(991, 1001))
    assert text_of(lines[-1]) == f"… and 990 more labels with {rest:,} examples"
    assert all(cell_len(text_of(line)) <= 40 for line in lines[:-1])


def test_only_text_that_needs_lines_gets_them() -> None:
    def told(data: bytes) -> str | None:
        return long_text(TEXT, RawFeature("bytes", [memoryview(data)]))

    assert told(b"short") is None
    assert told(b"\xff" * 200) is None
    assert told(b"two\nlines") == "two\nlines"
    assert told("ü".encode() * 60_000).endswith("ü …")
