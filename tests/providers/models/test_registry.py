"""The models that the settings name."""

import hashlib
from pathlib import Path

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from providers.chat_server import chat_server, replies
from tertulia.errors import ModelUnavailable
from tertulia.providers import machine
from tertulia.providers.base import Prompt, ProviderError, Turn
from tertulia.providers.models import registry
from tertulia.providers.models.registry import open_models
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


async def test_without_weights_the_log_says_so_and_the_scripted_model_speaks(tmp_path: Path):
    with capture_logs() as logs:
        models = open_models(settings(tmp_path, "local"))
    assert logs[0]["event"].startswith("The weights of qwen2.5-coder-0.5b are not in ")
    assert len([piece async for piece in models.default.stream(PROMPT)]) == 4


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
        models = open_models(settings(tmp_path, broken))
    assert logs[0]["event"] == "A local model needs a processor with avx2."
    assert len([piece async for piece in models.default.stream(PROMPT)]) == 4


@pytest.mark.parametrize("others", [(), ("scripted",)])
async def test_weights_that_cannot_be_loaded_are_said_in_one_line_and_left_out(
    tmp_path: Path, broken: str, others: tuple[str, ...]
):
    pytest.importorskip("xllamacpp", reason="a library that it needs is missing here", exc_type=ImportError)
    models = open_models(settings(tmp_path, broken, *others))
    with capture_logs() as logs:
        await models.start()
    assert logs[0]["event"] == "A model cannot be loaded."
    with capture_logs() as logs:
        assert len([piece async for piece in models.default.stream(PROMPT)]) == 4
    assert logs == []
    await models.aclose()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("nonsense", "There is no model 'nonsense'; there are scripted, local, openai and VENDOR:NAME."),
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
    assert open_models(settings(tmp_path, "scripted")).named("openai_gpt-6-luna") is None
    async with chat_server(replies("Hello")) as server:
        models = open_models(settings(tmp_path, "scripted", url=server.url, key="sk-key"))
        model = models.named("openai_gpt-6-luna")
        assert model is not None
        assert models.named("openai_gpt-6-luna") is model
        assert [piece async for piece in model.stream(PROMPT)] == ["Hello"]
        assert server.requests[0]["model"] == "gpt-6-luna"
        assert models.named("google_gemini-3.5-flash") is None
        assert models.named("other") is None
        await models.aclose()


async def test_however_many_models_are_named_a_process_opens_so_many(tmp_path: Path):
    models = open_models(settings(tmp_path, "scripted", key="sk-key"))
    opened = [models.named(f"openai_{number}") for number in range(registry.MOST_NAMED + 1)]
    assert opened[-1] is None
    assert None not in opened[:-1]
    assert models.named("openai_0") is opened[0]
    await models.aclose()


async def test_a_version_set_can_prefer_any_model_of_the_settings_by_its_name(tmp_path: Path):
    async with chat_server(replies("Hello")) as server:
        models = open_models(settings(tmp_path, "scripted", "openai:small", url=server.url))
        small, scripted = models.named("openai:small"), models.named("scripted")
        assert small is not None
        assert [piece async for piece in small.stream(PROMPT)] == ["Hello"]
        assert scripted is not None
        assert "".join([piece async for piece in scripted.stream(PROMPT)]).startswith('You said: "Hi"')
        assert models.named("openai:large") is None
        await models.aclose()
