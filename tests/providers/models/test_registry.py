"""The models that the settings name."""

import hashlib
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError
from structlog.testing import capture_logs

from providers.chat_server import chat_server, replies
from tertulia.errors import ModelUnavailable
from tertulia.providers import machine
from tertulia.providers.base import Prompt, ProviderError, Turn
from tertulia.providers.models import named
from tertulia.providers.models.registry import VENDORS, open_models
from tertulia.providers.weights import CATALOGUE, Part, folder, gguf
from tertulia.settings import OpenAISettings, ScriptedSettings, Settings

PROMPT = Prompt("EngageUser", "", [Turn("user", "Hi")])


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "GOOGLE_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def settings(tmp_path: Path, *model: str, url: str = "http://127.0.0.1:9", key: str = "") -> Settings:
    openai = OpenAISettings(base_url=url, api_key=SecretStr(key))
    return Settings(data=tmp_path, model=model, openai=openai, scripted=ScriptedSettings(pieces=4))


async def test_the_scripted_model_speaks_in_the_pieces_that_the_settings_say(tmp_path: Path):
    models = open_models(settings(tmp_path, "scripted"))
    await models.start()
    assert len([piece async for piece in models.default.stream(PROMPT)]) == 4
    await models.aclose()


async def test_models_are_tried_in_the_order_of_the_settings(tmp_path: Path):
    async with chat_server(replies("Hello")) as server:
        models = open_models(settings(tmp_path, "openai:tiny", "scripted", url=server.url))
        assert [piece async for piece in models.default.stream(PROMPT)] == ["Hello"]
        server.answers[:] = [replies()]
        assert len([piece async for piece in models.default.stream(PROMPT)]) == 4
        await models.aclose()


async def test_a_model_alone_fails_alone(tmp_path: Path):
    models = open_models(settings(tmp_path, "openai:tiny"))
    with pytest.raises(ModelUnavailable):
        await anext(models.default.stream(PROMPT))
    await models.aclose()


async def test_without_weights_the_log_says_so_and_the_next_model_speaks(tmp_path: Path):
    with capture_logs() as logs:
        models = open_models(settings(tmp_path, "local", "scripted"))
    assert logs[0]["event"].startswith("The weights of qwen2.5-coder-")
    assert len([piece async for piece in models.default.stream(PROMPT)]) == 4


async def test_the_model_that_repeats_speaks_only_if_it_is_named(tmp_path: Path):
    with pytest.raises(ProviderError, match="None of the models"):
        open_models(settings(tmp_path, "local"))


async def test_a_name_of_a_version_set_is_answered_by_the_model_that_the_settings_give_it(tmp_path: Path):
    given = settings(tmp_path, "scripted").model_copy(update={"model_names": ("openai_gpt-5.6-luna=scripted",)})
    models = open_models(given).of("demo")

    assert models.named("openai_gpt-5.6-luna") is models.default
    assert models.named("openai_gpt-5.6-sol") is None


async def test_a_star_stands_for_every_name_that_cannot_be_reached_otherwise(tmp_path: Path):
    models = open_models(settings(tmp_path, "scripted").model_copy(update={"model_names": ("*=scripted",)})).of("demo")

    assert models.named("openai_gpt-5.6-sol") is models.default


async def test_a_name_that_leads_to_a_model_which_is_not_opened_is_refused(tmp_path: Path):
    given = settings(tmp_path, "scripted").model_copy(update={"model_names": ("x=local",)})
    with pytest.raises(ProviderError, match="x leads to local, which TERTULIA_MODEL does not name"):
        open_models(given)


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A local model whose weights are here, and no model."""
    content = b"not a model"
    part = Part("none", "1", "none", len(content))
    monkeypatch.setitem(CATALOGUE, "broken", gguf("broken", hashlib.sha256(content).hexdigest(), (part,)))
    folder(tmp_path).mkdir()
    (folder(tmp_path) / "broken.gguf").write_bytes(content)
    return "local:broken"


async def test_without_a_processor_for_it_no_local_model_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
):
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nflags\t\t: fpu sse4_2 fma f16c bmi2\n")
    monkeypatch.setattr(machine, "CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    with capture_logs() as logs:
        models = open_models(settings(tmp_path, broken, "scripted"))
    assert logs[0]["event"] == "A local model needs a processor with avx2."
    assert len([piece async for piece in models.default.stream(PROMPT)]) == 4


async def test_weights_that_cannot_be_loaded_are_said_in_one_line_and_left_out(tmp_path: Path, broken: str):
    pytest.importorskip("xllamacpp", reason="a library that it needs is missing here", exc_type=ImportError)
    models = open_models(settings(tmp_path, broken, "scripted"))
    with capture_logs() as logs:
        await models.start()
    assert [line["event"] for line in logs] == ["Loading a model's weights.", "A model cannot be loaded."]
    with capture_logs() as logs:
        assert len([piece async for piece in models.default.stream(PROMPT)]) == 4
    assert logs == []
    await models.aclose()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "nonsense",
            "There is no model 'nonsense'; there are scripted (the model that repeats), local (weights run in this "
            "process), openai (any server that speaks OpenAI's chat completions), google (Gemini) and VENDOR:NAME.",
        ),
        ("nobody:model", "The model 'nobody:model' cannot be opened: Unknown model: nobody:model"),
        ("openai:", "The model's name is missing: openai:NAME."),
        ("openai", "The model's name is missing: openai:NAME."),
    ],
)
def test_an_unknown_name_is_an_error_of_one_line(tmp_path: Path, name: str, text: str):
    with pytest.raises(ProviderError) as caught:
        open_models(settings(tmp_path, name))
    assert str(caught.value) == text


def test_an_address_that_is_none_is_an_error_of_one_line(tmp_path: Path):
    with pytest.raises(ProviderError, match="TERTULIA_OPENAI_BASE_URL"):
        open_models(settings(tmp_path, "openai:tiny", url="ftp://nowhere"))


def test_a_key_that_no_header_can_hold_is_refused_at_once_and_not_repeated(tmp_path: Path):
    with pytest.raises(ProviderError, match="TERTULIA_OPENAI_API_KEY has a line break") as caught:
        open_models(settings(tmp_path, "openai:tiny", key="sk-key\n"))
    assert "sk-" not in str(caught.value)


async def test_a_version_set_s_model_is_used_where_there_is_a_key_for_it(tmp_path: Path):
    assert open_models(settings(tmp_path, "scripted")).of("org").named("openai_gpt-6-luna") is None
    async with chat_server(replies("Hello")) as server:
        models = open_models(settings(tmp_path, "scripted", url=server.url, key="sk-key"))
        mine = models.of("org")
        model = mine.named("openai_gpt-6-luna")
        assert model is not None
        assert mine.named("openai_gpt-6-luna") is model
        assert [piece async for piece in model.stream(PROMPT)] == ["Hello"]
        assert server.requests[0]["model"] == "gpt-6-luna"
        assert mine.named("google_gemini-3.5-flash") is None
        assert mine.named("other") is None
        await models.aclose()


async def test_an_organization_that_names_many_models_takes_none_from_another(tmp_path: Path):
    models = open_models(settings(tmp_path, "scripted", key="sk-key"))
    other = models.of("other").named("openai_0")
    used = models.of("greedy").named("openai_used")
    for number in range(3 * named.MOST):
        assert models.of("greedy").named(f"openai_{number}") not in (None, models.default)
        assert models.of("greedy").named("openai_used") is used
    assert models.of("other").named("openai_0") is other
    await models.aclose()


async def test_a_process_keeps_so_many_models_and_forgets_those_that_were_not_used(tmp_path: Path):
    models = open_models(settings(tmp_path, "scripted", key="sk-key"))
    first = models.of("org 0").named("openai_tiny")
    for number in range(1, named.MOST + 1):
        assert models.of(f"org {number}").named("openai_tiny") is not None
    assert models.of("org 0").named("openai_tiny") is not first
    await models.aclose()


async def test_models_of_a_server_share_its_connections(tmp_path: Path):
    async with chat_server(replies("Hello")) as server:
        models = open_models(settings(tmp_path, "openai:tiny", url=server.url, key="sk-key"))
        for number in range(5):
            model = models.of("org").named(f"openai_{number}")
            assert model is not None
            assert [piece async for piece in model.stream(PROMPT)] == ["Hello"]
        assert server.connections == 1
        await models.aclose()


def test_a_model_of_openai_without_a_key_is_refused_at_once(tmp_path: Path):
    with pytest.raises(ProviderError, match="openai:tiny needs a key: set OPENAI_API_KEY"):
        open_models(settings(tmp_path, "openai:tiny", url="https://api.openai.com/v1"))


async def test_a_window_of_the_settings_bounds_what_its_model_is_sent(tmp_path: Path):
    long = Prompt("EngageUser", "", [*[Turn("user", "x" * 4_000), Turn("assistant", "y")] * 9, Turn("user", "Hi")])
    async with chat_server(replies("Hello")) as server:
        wide = settings(tmp_path, "openai:a", "openai:b", url=server.url)
        models = open_models(wide.model_copy(update={"windows": ("openai:b=4000",)}))
        for name in ("openai:a", "openai:b"):
            model = models.of("org").named(name)
            assert model is not None
            assert [piece async for piece in model.stream(long)] == ["Hello"]
        await models.aclose()
    assert len(server.requests[0]["messages"]) == 19
    assert sum(len(message["content"]) for message in server.requests[1]["messages"]) < 12_000


@pytest.mark.parametrize("window", ["openai:b", "openai:b=many", "=4000", "openai:b=-1", "openai:b=4000=4"])
def test_a_window_that_is_none_is_refused(window: str):
    with pytest.raises(ValidationError):
        Settings.model_validate({"windows": window})


def test_every_vendor_is_in_the_guide():
    guide = (Path(__file__).parents[3] / "docs" / "guide" / "models.md").read_text()
    for vendor in VENDORS:
        assert f"`{vendor.name}" in guide
        assert not vendor.needs or f"`{vendor.needs}`" in guide


async def test_a_version_set_can_prefer_any_model_of_the_settings_by_its_name(tmp_path: Path):
    async with chat_server(replies("Hello")) as server:
        models = open_models(settings(tmp_path, "scripted", "openai:small", url=server.url))
        small, scripted = models.of("org").named("openai:small"), models.of("org").named("scripted")
        assert small is not None
        assert [piece async for piece in small.stream(PROMPT)] == ["Hello"]
        assert scripted is not None
        assert "".join([piece async for piece in scripted.stream(PROMPT)]).startswith('You said: "Hi"')
        assert models.of("org").named("openai:large") is None
        await models.aclose()


async def test_a_fast_model_decides_beside_the_one_that_speaks(tmp_path: Path):
    async with chat_server(replies("Hello")) as server:
        given = settings(tmp_path, "openai:good", url=server.url).model_copy(update={"model_fast": ("scripted",)})
        models = open_models(given)
        assert [piece async for piece in models.default.stream(PROMPT)] == ["Hello"]
        assert len([piece async for piece in models.fast.stream(PROMPT)]) == 4
        await models.aclose()


async def test_without_a_fast_model_the_one_that_speaks_decides(tmp_path: Path):
    models = open_models(settings(tmp_path, "scripted"))

    assert models.fast is models.default


async def test_a_fast_model_that_is_not_here_is_left_out(tmp_path: Path):
    given = settings(tmp_path, "scripted").model_copy(update={"model_fast": ("local",)})
    with capture_logs() as logs:
        models = open_models(given)

    assert logs[0]["event"].startswith("The weights of")
    assert models.fast is models.default
