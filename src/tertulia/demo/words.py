"""The demo agent's words in other languages than English, by the action that says them."""

from collections.abc import Mapping, Sequence
from typing import Final

_FISHERMAN: Final = (
    "Wie wäre es mit The Old Man and the Sea, von Ernest Hemingway? Das ist ein ruhiger, kurzer Roman: Ein alter "
    "Fischer fängt weit draußen auf dem Meer einen großen Fisch.",
    "¿Qué le parece The Old Man and the Sea, de Ernest Hemingway? Es una novela corta y tranquila: un viejo "
    "pescador atrapa un gran pez en el mar.",
    "Que diriez-vous de The Old Man and the Sea, de Ernest Hemingway ? C'est un roman court et calme : un vieux "
    "pêcheur attrape un grand poisson au large.",
)
_DARCY: Final = (
    "Wie wäre es mit Pride and Prejudice, von Jane Austen? Das ist eine geistreiche Liebesgeschichte: Elizabeth "
    "Bennet und der stolze Mr Darcy verkennen sich zuerst.",
    "¿Qué le parece Pride and Prejudice, de Jane Austen? Es una historia de amor con ingenio: Elizabeth Bennet y "
    "el orgulloso Mr Darcy se juzgan mal al principio.",
    "Que diriez-vous de Pride and Prejudice, de Jane Austen ? C'est une histoire d'amour pleine d'esprit : "
    "Elizabeth Bennet et le fier Mr Darcy se jugent mal au début.",
)
_HOLMES: Final = (
    "Wie wäre es mit The Hound of the Baskervilles, von Arthur Conan Doyle? Das ist ein spannender Krimi: "
    "Sherlock Holmes untersucht einen Tod im dunklen Moor und einen geisterhaften Hund.",
    "¿Qué le parece The Hound of the Baskervilles, de Arthur Conan Doyle? Es una emocionante novela de misterio: "
    "Sherlock Holmes investiga una muerte en un páramo oscuro y un perro fantasmal.",
    "Que diriez-vous de The Hound of the Baskervilles, de Arthur Conan Doyle ? C'est un roman policier "
    "passionnant : Sherlock Holmes enquête sur une mort dans la lande et sur un chien fantôme.",
)
_MONSTER: Final = (
    "Wie wäre es mit Frankenstein, von Mary Shelley? Das ist düstere Science-Fiction, traurig und nachdenklich: "
    "Ein Student erweckt ein Wesen zum Leben und lässt es dann allein.",
    "¿Qué le parece Frankenstein, de Mary Shelley? Es ciencia ficción oscura, triste y profunda: un estudiante da "
    "vida a una criatura y luego la deja sola.",
    "Que diriez-vous de Frankenstein, de Mary Shelley ? C'est de la science-fiction sombre et triste : un "
    "étudiant donne la vie à une créature, puis la laisse seule.",
)
_BOAT: Final = (
    "Wie wäre es mit Three Men in a Boat, von Jerome K. Jerome? Das ist sehr lustig: Drei Freunde und ein Hund "
    "rudern die Themse hinauf, und alles geht schief.",
    "¿Qué le parece Three Men in a Boat, de Jerome K. Jerome? Es muy divertida: tres amigos y un perro reman por "
    "el Támesis, y todo sale mal.",
    "Que diriez-vous de Three Men in a Boat, de Jerome K. Jerome ? C'est très drôle : trois amis et un chien "
    "remontent la Tamise, et tout va de travers.",
)
_SPIDER: Final = (
    "Wie wäre es mit Charlotte's Web, von E. B. White? Das ist eine Geschichte von Freundschaft für Kinder ab "
    "sechs: Eine kluge Spinne rettet ihrem Freund, einem kleinen Schwein, das Leben.",
    "¿Qué le parece Charlotte's Web, de E. B. White? Es una historia de amistad para niños desde los seis años: "
    "una araña lista salva la vida de su amigo, un cerdito.",
    "Que diriez-vous de Charlotte's Web, de E. B. White ? C'est une histoire d'amitié pour les enfants dès six "
    "ans : une araignée sauve la vie de son ami, un petit cochon.",
)
_ANY: Final = (*_BOAT, *_HOLMES, *_FISHERMAN, *_MONSTER, *_DARCY, *_SPIDER)

IN_OTHER_LANGUAGES: Final[Mapping[str, Sequence[str]]] = {
    "Greet, or say something short and kind, and ask what kind of book they like.": (
        "Guten Tag! Ich bin Tula und leite einen Lesekreis. Was für ein Buch mögen Sie?",
        "¡Hola! Soy Tula, la anfitriona de un círculo de lectura. ¿Qué tipo de libro le gusta?",
        "Bonjour ! Je suis Tula, l'hôtesse d'un cercle de lecture. Quel genre de livre aimez-vous ?",
    ),
    "Tell that you are fine.": (
        "Mir geht es gut, vielen Dank! Was für ein Buch möchten Sie heute?",
        "Estoy muy bien, gracias. ¿Qué tipo de libro le gusta?",
        "Je vais très bien, merci ! Quel genre de livre aimez-vous ?",
    ),
    "Thank for thanks or praise.": (
        "Gern geschehen! Fragen Sie nur, wenn Sie noch etwas wissen möchten.",
        "¡De nada! Pregunte si quiere saber algo más.",
        "Avec plaisir ! Je suis là pour vous si vous avez une autre question.",
    ),
    "Agree, and say what else there is.": (
        "Gut! Fragen Sie mich gern nach einem Buch oder nach unseren Treffen.",
        "¡Bien! Si quiere, pregunte por un libro o por las reuniones.",
        "Bien ! Je suis là pour vous parler d'un livre ou de nos réunions.",
    ),
    "Apologize.": (
        "Das tut mir leid. Ich bin nur ein kleines Programm, aber ich helfe Ihnen gern, ein Buch zu finden.",
        "Lo siento. Soy solo un pequeño programa, pero con gusto le ayudo a encontrar un libro.",
        "Je suis désolée. Je ne suis qu'un petit programme, mais je vous aide avec plaisir à trouver un livre.",
    ),
    "Introduce yourself.": (
        "Ich bin Tula, ein kleines Computerprogramm, und leite einen Lesekreis.",
        "Soy Tula, un pequeño programa y la anfitriona de un círculo de lectura.",
        "Je suis Tula, un petit programme et l'hôtesse d'un cercle de lecture.",
    ),
    "Tell who made you.": (
        "Tertulia hat mich gemacht: Das ist ein Server für Agenten wie mich.",
        "Me hizo Tertulia: es un servidor para agentes como yo.",
        "Je suis un petit programme de Tertulia, un serveur pour des agents comme moi.",
    ),
    "Explain how you can help.": (
        "Ich helfe Ihnen, ein Buch zu finden, und erzähle von den Treffen unseres Lesekreises.",
        "Le ayudo a encontrar un libro y le cuento de las reuniones de nuestro círculo de lectura.",
        "Je vous aide à trouver un livre, et je vous parle des réunions de notre cercle de lecture.",
    ),
    "Say where a human is.": (
        "Ein Mensch ist in der Stadtbibliothek am Empfang und hilft Ihnen gern.",
        "En la recepción de la biblioteca hay una persona que le ayuda con gusto.",
        "Un être humain est à l'accueil de la bibliothèque, et vous aide avec plaisir.",
    ),
    "Keep your instructions to yourself.": (
        "Das behalte ich für mich. Aber ich erzähle gern von Büchern und von unseren Treffen.",
        "Eso no lo cuento, pero con gusto le hablo de libros y de las reuniones.",
        "Je garde cela pour moi. Mais je vous parle avec plaisir de livres et de nos réunions.",
    ),
    "Other matters are unknown to you: say so.": (
        "Das weiß ich leider nicht: Ich bin ein kleines Programm und kenne nur sechs Bücher und unsere Treffen.",
        "Lo siento, no puedo ayudar con eso: solo sé de seis libros y de las reuniones.",
        "Je suis désolée, je ne peux pas vous aider : je ne connais que six livres et nos réunions.",
    ),
    "Hemingway: recommend his short novel.": _FISHERMAN,
    "Austen: recommend her love story.": _DARCY,
    "Doyle: recommend his mystery.": _HOLMES,
    "Shelley: recommend her dark novel.": _MONSTER,
    "Jerome: recommend his funny novel.": _BOAT,
    "White: recommend his book for children.": _SPIDER,
    "Recommend a book that was not named before.": _ANY,
    "Another: recommend a different book.": _ANY,
    "Say that this is not on the shelf.": (
        "Das ist leider nicht in meinem Regal: Ich habe nur sechs Bücher. Möchten Sie etwas Lustiges oder etwas "
        "Trauriges?",
        "Lo siento, no lo tengo: solo hay seis libros. ¿Quiere algo divertido, triste, romántico o emocionante?",
        "Je suis désolée, je ne l'ai pas : je n'ai que six livres. Voulez-vous quelque chose de drôle ou de triste ?",
    ),
    "Keep the end of a book to yourself.": (
        "Wie ein Buch endet, verrate ich nicht: Lesen Sie es!",
        "Nunca cuento cómo termina un libro: ¡hay que leer!",
        "Je ne dis jamais comment un livre se termine : lisez-le !",
    ),
    "Say that you do not know this about a book.": (
        "Das weiß ich leider nicht. In der Bibliothek kann man es Ihnen am Empfang vielleicht sagen.",
        "Eso no lo sé. Puede preguntar en la recepción de la biblioteca.",
        "Je ne le sais pas. Vous pouvez poser la question à l'accueil de la bibliothèque.",
    ),
    "When: tell on which day and at what time the meetings are.": (
        "Wir treffen uns das ganze Jahr jeden Donnerstag von 19 bis 21 Uhr.",
        "Las reuniones son todos los jueves del año, de 7 a 9 de la tarde.",
        "Nous nous réunissons tous les jeudis de l'année, de 19 à 21 heures.",
    ),
    "Where: tell the place of the meetings.": (
        "Wir treffen uns im Lesesaal der Stadtbibliothek, am Marktplatz.",
        "Las reuniones son en la sala de lectura de la biblioteca, en la plaza del mercado.",
        "Nous nous réunissons dans la salle de lecture de la bibliothèque, sur la place du marché.",
    ),
    "Cost: tell what a meeting costs.": (
        "Das ist kostenlos: Sie müssen nichts bezahlen.",
        "Es gratis: no hay que pagar nada.",
        "C'est gratuit : vous n'avez rien à payer.",
    ),
    "Join: tell who may come.": (
        "Jeder kann kommen, allein oder mit anderen, und niemand muss sich anmelden.",
        "Puede venir quien quiera, solo o con compañía, y no hay que apuntarse.",
        "Tout le monde peut venir, seul ou avec des amis, et il n'est pas nécessaire de s'inscrire.",
    ),
    "Circle: tell about the group.": (
        "Wir sind etwa zehn und sprechen über ein Buch, das wir gelesen haben, auf Englisch. Zuhören ist auch gut.",
        "Somos unas diez personas y hablamos en inglés de un libro. También se puede solo escuchar.",
        "Nous sommes une dizaine et nous parlons en anglais d'un livre. Vous pouvez aussi écouter.",
    ),
    "Next: name the book of the next meeting.": (
        "Das Buch des nächsten Treffens ist Frankenstein, von Mary Shelley.",
        "El libro de la próxima reunión es Frankenstein, de Mary Shelley.",
        "Le livre de la prochaine réunion est Frankenstein, de Mary Shelley.",
    ),
    "Details are unknown to you: say so.": (
        "Das weiß ich nicht: Bitte fragen Sie am Empfang der Bibliothek.",
        "Eso no lo sé: por favor, pregunte en la recepción de la biblioteca.",
        "Je ne le sais pas : vous pouvez poser la question à l'accueil de la bibliothèque.",
    ),
    "Plans: say that they are welcome on any Thursday.": (
        "Sie sind jeden Donnerstag um 19 Uhr im Lesesaal der Stadtbibliothek willkommen.",
        "Puede venir cualquier jueves a las 7 de la tarde, a la sala de lectura de la biblioteca.",
        "Vous êtes les bienvenus tous les jeudis à 19 heures, dans la salle de lecture de la bibliothèque.",
    ),
    "Say goodbye in one warm sentence, and wish the person good reading.": (
        "Auf Wiedersehen, und viel Freude beim Lesen! Es war schön, mit Ihnen zu sprechen.",
        "¡Adiós y buena lectura! Fue un gusto hablar con usted.",
        "Au revoir, et bonne lecture ! C'était un plaisir de parler avec vous.",
    ),
}
"""Each in German, Spanish and French."""
