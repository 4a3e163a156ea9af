"""Written texts, as a voice says them."""

# ruff: noqa: RUF001, SIM905 - other dashes and signs are meant; words read better in a line than in a list
import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tertulia.engine.speech.numbers import cardinal, ordinal, year
from tertulia.engine.speech.speakable import Span, speakable

MARKS = (
    "a B 5 12 1,000 3.14 2026-11-24 12:30 $5 % ** * _ ` ``` # - + | < > <b> </b> [ ] ( ) ](a) ![ https://a.org/b. "
    "a@b.org &amp; &lt; &#0; 😀 \u200d \ufe0f \x00 \ud800 \u202e ¿ é न ् 你 — – … ° km 1/2 + = ~ \\"
).split(" ")
SPACES = [" ", "  ", "\n", "\t", "\r\n", "\u00a0", "---\n", "\n- ", "|--|\n"]
SHAPES = [
    *"a [ ]( ](a(b) < <a <!-- &a _ ` | 1 1, 1. 1/ 1: a@ a. a- - 😀 \u200d https://a/. www. [^ ](a".split(" "),
    *"1- 0-0 PIN call,1 code:1 Tel. 1.234 1,2 AB".split(" "),
    *("PIN ", "1 000 ", "call is ", "1 or ", "12, "),
]
MARKUP = st.lists(st.sampled_from([*MARKS, *SPACES])).map("".join)
WRITTEN = MARKUP | st.text()


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("Just as it is: don’t “change” it (at all)… ok?", "Just as it is: don’t “change” it (at all)… ok?"),
        ("**Bold**, *it*alic, ***both***, ~~gone~~ and `code`.", "Bold, italic, both, gone and code."),
        ("_em_ and __strong__ and snake_case", "em and strong and snake case"),
        ("\n## A heading ", "A heading"),
        ("- [x] done\n  * next\n> quoted", "done next quoted"),
        ('[the docs](https://a.org/b_(c)?d "T"), [ref][1], note[^1]', "the docs, ref, note"),
        ("![A cat](cat.png) and [![alt](i.png)](https://a.org)", "A cat and alt"),
        ("| Name | Age |\n|---|:-:|\n| Ana | old |", "Name, Age Ana, old"),
        ("```python\nprint\n```", "print"),
        ('<b>Hi</b><br/>there <break time="1s"/><!-- no -->now', "Hi there now"),
        ("Hi 😀! Great 👍🏽🇪🇸 job™ :) <3", "Hi! Great job"),
        ("a\x00b\u200bc\u202ed\u00adé", "abcdé"),
        ("word—word, a - b -- c", "word, word, a, b, c"),
        ("two  spaces\u00a0and\ttabs \n", "two spaces and tabs"),
    ],
)
@pytest.mark.parametrize("language", ["eng", "deu"])
def test_markup_and_what_has_no_sound_is_left_out(written: str, said: str, language: str) -> None:
    assert speakable(written, language).text == said


@pytest.mark.parametrize(
    "written", ["", " \n", "😀 👍", "---", "```", "```python", "...", "**", "|--|--|", "<br>", "!", "&#0;"]
)
@pytest.mark.parametrize("language", ["eng", "cmn"])
def test_some_texts_are_not_said_at_all(written: str, language: str) -> None:
    assert speakable(written, language).text == ""


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("See https://www.example.com/path?x=1.", "See example dot com."),
        (
            "(http://my-site.org/a/b), <https://foo.io> or example.com/x",
            "(my dash site dot org), foo dot io or example dot com",
        ),
        ("http://10.0.0.1:80/, web3.org", "ten dot zero dot zero dot one, web three dot org"),
        ("Mail a.b@example.com or <c@d.org>!", "Mail a dot b at example dot com or c at d dot org!"),
        ("AT&T, R&amp;D, C#, C++, #5, #tag", "AT and T, R and D, C sharp, C plus plus, number five, tag"),
        ("2+2=4, 3 * 4, 5 - 3", "two plus two equals four, three times four, five minus three"),
        ("3×4, -5, 1 < 2", "three times four, minus five, one is less than two"),
        ("he/she and/or they -> us", "he slash she and or they to us"),
    ],
)
def test_addresses_and_symbols_are_said_in_english(written: str, said: str) -> None:
    assert speakable(written, "eng").text == said


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("0 7 13 42 100 105", "zero seven thirteen forty-two one hundred one hundred five"),
        (
            "1,000 and 1,234,567",
            "one thousand and one million two hundred thirty-four thousand five hundred sixty-seven",
        ),
        ("12345", "twelve thousand three hundred forty-five"),
        ("3.14, .5, 0.05", "three point one four, point five, zero point zero five"),
        ("version 1.2.10", "version one point two point ten"),
        ("in 1999, 1905, 1900", "in nineteen ninety-nine, nineteen oh five, nineteen hundred"),
        ("in 2000, 2009, 2026", "in two thousand, two thousand nine, twenty twenty-six"),
        ("the 1990s and 90s", "the nineteen nineties and nineties"),
        ("1st 2nd 3rd 12th 40th 101st", "first second third twelfth fortieth one hundred first"),
        ("1/2, 3/4, 2/3, 1 1/2", "one half, three quarters, two thirds, one and one half"),
        ("85/100, 2½, 24/7", "eighty-five out of one hundred, two and one half, twenty-four seven"),
        ("2026-11-24", "November twenty-fourth, twenty twenty-six"),
        ("2026/11/24", "November twenty-fourth, twenty twenty-six"),
        ("Nov. 27, 2026 or May 1st", "November twenty-seventh, twenty twenty-six or May first"),
        ("No. 5 costs $5/month", "number five costs five dollars per month"),
        ("2026-11-24T09:05", "November twenty-fourth, twenty twenty-six at nine oh five"),
        ("11/24/2026", "November twenty-fourth, twenty twenty-six"),
        ("24.11.2026", "November twenty-fourth, twenty twenty-six"),
        (
            "12:05, 3:00, 3pm, 3:30 p.m., 15:00",
            "twelve oh five, three o'clock, three PM, three thirty PM, fifteen hundred",
        ),
        ("$1, $3.50, $0.99", "one dollar, three dollars and fifty cents, ninety-nine cents"),
        ("€10, 10 €, ¥5k", "ten euros, ten euros, five thousand yen"),
        ("$2.5 million, £1,999", "two point five million dollars, one thousand nine hundred ninety-nine pounds"),
        ("50%, 1 km, 60 km/h, 10k", "fifty percent, one kilometer, sixty kilometers per hour, ten thousand"),
        ("72°F, 16GB", "seventy-two degrees Fahrenheit, sixteen gigabytes"),
        ("5–10 km, 10%-20%", "five to ten kilometers, ten percent to twenty percent"),
        ("$5-$10, 16:9", "five dollars to ten dollars, sixteen to nine"),
        ("10 - 20 but 20 - 10", "ten to twenty but twenty minus ten"),
        ("Call 911 at 5am, not 9111.", "Call nine one one at five AM, not nine thousand one hundred eleven."),
        ("555-123-4567", "five five five, one two three, four five six seven"),
        ("+34 612 345 678", "plus three four, six one two, three four five, six seven eight"),
        ("5551234 or 0049", "five five five one two three four or zero zero four nine"),
        ("COVID-19, B2B, 3-year-old", "COVID-nineteen, B two B, three-year-old"),
        ("9" * 18, " ".join(["nine"] * 18)),
    ],
)
def test_numbers_are_said_in_english_words(written: str, said: str) -> None:
    assert speakable(written, "eng").text == said


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("Call 112 now, or 911.", "Call one one two now, or nine one one."),
        ("In an emergency dial 999.", "In an emergency dial nine nine nine."),
        ("The emergency number is 112.", "The emergency number is one one two."),
        ("112 is the emergency number.", "one one two is the emergency number."),
        ("My number is 123-45-6789.", "My number is one two three, four five, six seven eight nine."),
        ("Your PIN is 1999, **not** 2024.", "Your PIN is one nine nine nine, not twenty twenty-four."),
        ("PIN: **2024**", "PIN: two zero two four"),
        ("Your one-time code is 836 204.", "Your one-time code is eight three six, two zero four."),
        ("Codes 1234, 5678 and 9012", "Codes one two three four, five six seven eight and nine zero one two"),
        ("The card ending in 4242", "The card ending in four two four two"),
        ("4111 1111 1111 1111", "four one one one, one one one one, one one one one, one one one one"),
        ("Phone: 030 1234567", "Phone: zero three zero, one two three four five six seven"),
        ("01 23 45 67 89", "zero one, two three, four five, six seven, eight nine"),
        ("Springfield, IL 62704-1234", "Springfield, IL six two seven zero four, one two three four"),
        ("A Street 5, 10115 Berlin", "A Street five, one zero one one five Berlin"),
        ("London SW1A 1AA, M60 1NW", "London SW one A one AA, M six zero one NW"),
        ("Order #48213 is here", "Order number four eight two one three is here"),
        ("Your order 1001 is here", "Your order one zero zero one is here"),
        ("Flight BA 1999 or room 204", "Flight BA one nine nine nine or room two zero four"),
        ("ISBN 978-3-16-148410-0", "ISBN nine seven eight, three, one six, one four eight four one zero, zero"),
    ],
)
def test_digits_that_are_a_name_are_said_one_by_one(written: str, said: str) -> None:
    assert speakable(written, "eng").text == said


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("999 people, 112 books", "nine hundred ninety-nine people, one hundred twelve books"),
        ("I order 1500 units in 2024", "I order fifteen hundred units in twenty twenty-four"),
        ("Text 1000 people", "Text one thousand people"),
        ("the case of 1984", "the case of nineteen eighty-four"),
        ("2019-2024", "twenty nineteen to twenty twenty-four"),
        (
            "24-11-2026 or 2026-11-24",
            "November twenty-fourth, twenty twenty-six or November twenty-fourth, twenty twenty-six",
        ),
        ("3 rooms and 200 codes", "three rooms and two hundred codes"),
        ("https://a.org/code/PIN=1234", "a dot org"),
    ],
)
def test_other_digits_are_not_names(written: str, said: str) -> None:
    assert speakable(written, "eng").text == said


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("29,99 €", "twenty-nine euros and ninety-nine cents"),
        ("€29,99", "twenty-nine euros and ninety-nine cents"),
        ("1.234,56 €", "one thousand two hundred thirty-four euros and fifty-six cents"),
        ("1.234 €", "one thousand two hundred thirty-four euros"),
        ("12 500 €", "twelve thousand five hundred euros"),
        ("29,99 euros", "twenty-nine point nine nine euros"),
        ("10.000.000 people", "ten million people"),
        ("1 000 000 people", "one million people"),
        ("1\u202f000\u202f000 people", "one million people"),
        ("5,5 kg or 3,5 %", "five point five kilograms or three point five percent"),
        ("$1,234.56", "one thousand two hundred thirty-four dollars and fifty-six cents"),
        ("1.234 and 1,234", "one point two three four and one thousand two hundred thirty-four"),
        ("sizes 3,5 and 1,2,3", "sizes three,five and one,two,three"),
        ("192.168.100.200", "one hundred ninety-two point one hundred sixty-eight point one hundred point two hundred"),
        ("100 200 300 400", "one hundred two hundred three hundred four hundred"),
    ],
)
def test_numbers_as_europeans_write_them_are_said_in_english(written: str, said: str) -> None:
    assert speakable(written, "eng").text == said


@pytest.mark.parametrize(
    ("language", "written", "said"),
    [
        ("deu", "Ihre PIN ist 1999, im Jahr 2024.", "Ihre PIN ist 1 9 9 9, im Jahr 2024."),
        ("deu", "Rufen Sie 112 an; Zimmer 204.", "Rufen Sie 1 1 2 an; Zimmer 2 0 4."),
        ("deu", "1.234,56 €, 10.000.000, 1,234.56", "1234,56 €, 10000000, 1234,56"),
        ("deu", "12.03.2024, 1.5, 192.168.100.200", "12.03.2024, 1.5, 192.168.100.200"),
        ("fra", "Le code est 1234; composez le 112.", "Le code est 1 2 3 4; composez le 1 1 2."),
        ("fra", "1\u202f000\u202f000 € et 29,99 €", "1000000 € et 29,99 €"),
        ("spa", "Su código postal es 28013. Llame al 112.", "Su código postal es 2 8 0 1 3. Llame al 1 1 2."),
        ("ita", "Chiami il 112, il PIN è 4711.", "Chiami il 1 1 2, il PIN è 4 7 1 1."),
        ("por", "Ligue para 112: CEP 01310-100", "Ligue para 1 1 2: CEP 0 1 3 1 0, 1 0 0"),
        ("nld", "Bel 112, uw pincode is 1234.", "Bel 1 1 2, uw pincode is 1 2 3 4."),
        ("jpn", "1,234,567 PIN 1234", "1234567 PIN 1 2 3 4"),
    ],
)
def test_other_languages_have_their_own_names_and_separators(language: str, written: str, said: str) -> None:
    assert speakable(written, language).text == said


DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


@given(st.sampled_from(["PIN", "Your code is", "zip code:", "Call"]), st.integers(100, 999_999))
def test_a_name_is_said_with_each_of_its_digits(cue: str, number: int) -> None:
    said = speakable(f"{cue} {number}.", "eng").text
    assert said == f"{cue} {' '.join(DIGITS[int(digit)] for digit in str(number))}."


@given(st.integers(1000, 10**9 - 1), st.integers(0, 99))
def test_a_sum_is_said_alike_however_its_separators_are_written(whole: int, cents: int) -> None:
    american, european = f"{whole:,}.{cents:02}", f"{whole:,}".replace(",", ".") + f",{cents:02}"
    assert speakable(f"{european} €", "eng").text == speakable(f"{american} €", "eng").text
    assert speakable(f"{european} €", "deu").text == speakable(f"{american} €", "deu").text == f"{whole},{cents:02} €"


def test_other_languages_keep_digits_and_symbols_for_their_voices() -> None:
    written = "Am 24.11.2026 um 15:30: 1.000,50 €, 5 % & 3–4 km, 5 - 3 = 2, AT&T, example.com"
    assert speakable(f"**{written}**", "deu").text == written.replace("1.000,50", "1000,50")


def test_spans_say_which_stretch_was_said_how() -> None:
    said = speakable("**Buy** 12 now 😀", "eng")
    assert said.text == "Buy twelve now"
    assert said.spans == (
        Span(0, 2, 0, 0),
        Span(2, 5, 0, 3),
        Span(5, 7, 3, 3),
        Span(7, 8, 3, 4),
        Span(8, 10, 4, 10),
        Span(10, 14, 10, 14),
        Span(14, 16, 14, 14),
    )


@given(WRITTEN, st.sampled_from(["eng", "deu"]))
def test_spans_are_in_order_and_cover_both_texts(written: str, language: str) -> None:
    said = speakable(written, language)
    edges = [(0, 0), *((span.written_end, span.spoken_end) for span in said.spans)]
    assert [(span.written_start, span.spoken_start) for span in said.spans] == edges[:-1]
    assert edges[-1] == (len(written), len(said.text))
    assert all(before[0] < after[0] and before[1] <= after[1] for before, after in pairwise(edges))


@given(WRITTEN, st.sampled_from(["eng", "deu"]))
def test_a_voice_gets_neither_tags_nor_control_characters(written: str, language: str) -> None:
    text = speakable(written, language).text
    assert not set("<>") & set(text)
    assert all(unicodedata.category(char) not in {"Cc", "Cs", "Co", "Zl", "Zp"} for char in text)
    assert text == " ".join(text.split())
    assert not text or any(char.isalnum() for char in text)


@given(st.text("0123456789.,:/-$%+ apmstkM°") | MARKUP)
def test_no_digit_is_left_in_english(written: str) -> None:
    assert not set("0123456789") & set(speakable(written, "eng").text)


@given(st.integers(0, 10**18 - 1))
def test_every_number_has_its_own_words(number: int) -> None:
    assert cardinal(number) != cardinal((number + 1) % 10**18)
    assert ordinal(number) != cardinal(number)
    assert year(number % 10_000)


@pytest.mark.parametrize("shape", [*SHAPES, " ", "\n", " |", "+1 ", "(555) ", " - ", "1 1/2", "\n- ", '](a "'])
@pytest.mark.parametrize("language", ["eng", "deu"])
def test_text_of_any_shape_is_made_speakable_in_linear_time(shape: str, language: str) -> None:
    written = shape * (40_000 // len(shape))
    assert speakable(written, language).spans[-1].written_end == len(written)
