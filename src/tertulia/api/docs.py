"""`/docs`: a page that shows the API and tries it. All that it loads comes from here, for there may be no network."""

from importlib.resources import files

from fastapi import APIRouter
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

from tertulia.api.http.openapi import PATH

router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def show_docs() -> HTMLResponse:
    """Show Swagger UI on this server's OpenAPI document."""
    return get_swagger_ui_html(
        openapi_url=PATH,
        title="Tertulia",
        swagger_js_url="/docs/swagger-ui-bundle.js",
        swagger_css_url="/docs/swagger-ui.css",
        swagger_favicon_url="data:,",
    )


router.mount("/docs", StaticFiles(directory=str(files("fastapi_offline") / "static")))
