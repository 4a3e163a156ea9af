"""Short forms, as a voice says them: places, money of many lands, hours, dates, sizes, numerals, abbreviations."""

# ruff: noqa: RUF001 - other dashes and signs are meant
import pytest

from tertulia.engine.speech.forms import roman
from tertulia.engine.speech.speakable import speakable


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("Room 12B is free.", "Room twelve B is free."),
        ("Your room is 12B.", "Your room is twelve B."),
        ("seats 4K and 5M", "seats four K and five million"),
        ("gate 22k", "gate twenty-two K"),
        ("An A4 page, gate B7, model X200", "An A four page, gate B seven, model X two hundred"),
        ("bus 42, Windows 11, § 12", "bus forty-two, Windows eleven, section twelve"),
        ("Nos. 5 and 6, No. 7", "numbers five and six, number seven"),
        ("12B parameters, 10K followers", "twelve billion parameters, ten thousand followers"),
        ("CHF 1'234.50", "one thousand two hundred thirty-four Swiss francs and fifty centimes"),
        ("1’234.50 Fr. is due", "one thousand two hundred thirty-four francs and fifty centimes is due"),
        ("R$ 1.234,56", "one thousand two hundred thirty-four reais and fifty-six centavos"),
        ("12 kr or SEK 120", "twelve kroner or one hundred twenty Swedish kronor"),
        ("₹1,23,456", "one hundred twenty-three thousand four hundred fifty-six rupees"),
        ("12,34,567 people", "one million two hundred thirty-four thousand five hundred sixty-seven people"),
        ("-5 €, $3M, €2.5k", "minus five euros, three million dollars, two point five thousand euros"),
        (
            "US$5, C$3.50, 12.50 USD",
            "five US dollars, three Canadian dollars and fifty cents, twelve US dollars and fifty cents",
        ),
        ("It takes 2h30.", "It takes two hours thirty minutes."),
        ("7 pm–9 pm, 9am-5pm", "seven PM to nine PM, nine AM to five PM"),
        ("at 14.30, at 12.50 euros", "at fourteen thirty, at twelve point five zero euros"),
        ("on 3/12, on 12/3/25", "on March twelfth, on December third, twenty twenty-five"),
        ("3/12 of it", "three twelfths of it"),
        ("12 March 2025, the 4 July", "the twelfth of March twenty twenty-five, the fourth of July"),
        ("3x faster, 2x4, 10 x 15 cm", "three times faster, two by four, ten by fifteen centimeters"),
        ("0x12", "zero x twelve"),
        ("6'2\" or 5 ft 10 in", "six feet two inches or five feet ten inches"),
        ("Henry VIII, Louis XIV.", "Henry the eighth, Louis the fourteenth."),
        ("chapter IV of World War II", "chapter four of World War two"),
        ("Malcolm X and I, vitamin C, an IV drip", "Malcolm X and I, vitamin C, an IV drip"),
        (
            "Dr. Smith, Mr. and Mrs. Lee, St. Paul, Main St.",
            "Doctor Smith, Mister and Missus Lee, Saint Paul, Main Street",
        ),
        ("e.g. tea, i.e. that, etc.", "for example tea, that is that, et cetera."),
    ],
)
def test_english(written: str, said: str) -> None:
    assert speakable(written, "eng").text == said


@pytest.mark.parametrize(
    ("language", "written", "said"),
    [
        ("deu", "CHF 1'234.50 oder 1'234.50 Fr.", "1234,50 Franken oder 1234,50 Franken"),
        ("deu", "um 14:30 Uhr, 10-12 Uhr, 9.00 Uhr", "um 14 Uhr 30, 10 bis 12 Uhr, 9 Uhr"),
        ("deu", "z. B. Tee, d.h. viel usw.", "zum Beispiel Tee, das heißt viel und so weiter."),
        (
            "deu",
            "Ludwig XIV. war groß, Elisabeth II. auch",
            "Ludwig der Vierzehnte war groß, Elisabeth die Zweite auch",
        ),
        ("deu", "Dr. Meier in St. Gallen, Nr. 5", "Doktor Meier in Sankt Gallen, Nummer 5"),
        ("deu", "3,- € und 12,5 %", "3 € und 12,5 %"),
        ("deu", "Ach so. Das war es.", "Ach so. Das war es."),
        ("fra", "à 14h30, 9h00", "à 14 heures 30, 9 heures"),
        ("fra", "Louis XIV au XVIIe siècle", "Louis 14 au 17e siècle"),
        ("fra", "M. Petit, p. ex. ici, n° 5", "Monsieur Petit, par exemple ici, numéro 5"),
        ("spa", "Sr. López, p. ej. Felipe II, siglo XXI", "señor López, por ejemplo Felipe segundo, siglo 21"),
        ("ita", "alle 14.30, XX secolo, Pio IX", "alle 14 e 30, ventesimo secolo, Pio nono"),
        ("por", "R$ 1.234,56 às 14h30", "1234,56 reais às 14 horas e 30"),
        ("nld", "14.30 uur, bijv. Willem II, € 12,-", "14 uur 30, bijvoorbeeld Willem de tweede, € 12"),
        ("hin", "₹1,23,456 है, कमरा 12B", "₹123456 है, कमरा 12B"),
        ("jpn", "14:30にA4の紙", "14:30にA4の紙"),
    ],
)
def test_other_languages(language: str, written: str, said: str) -> None:
    assert speakable(written, language).text == said


@pytest.mark.parametrize(
    ("written", "number"), [("I", 1), ("IV", 4), ("IX", 9), ("XIV", 14), ("XLIX", 49), ("LXXX", 80)]
)
def test_roman_numerals(written: str, number: int) -> None:
    assert roman(written) == number
