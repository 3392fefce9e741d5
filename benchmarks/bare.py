"""The smallest FastAPI app that answers with a small document: what everything is measured against."""

from fastapi import APIRouter, Depends, FastAPI

app = FastAPI()
router = APIRouter(prefix="/router")


async def nothing() -> None: ...


async def nobody() -> None: ...


@app.get("/users/me")
async def me() -> dict[str, str | list[str]]:
    return {"id": "a9a2e0f6-4c2f-4a4c-9d7c-0f4f4a3f2b11", "name": "someone@example.com", "roles": ["user"]}


@app.get("/plain", dependencies=[Depends(nothing)])
async def plain(caller: None = Depends(nobody)) -> dict[str, str | list[str]]:
    """The same written as an owner's route: with two dependencies, both empty."""
    return await me()


for number in range(6):  # as many as stand before the measured route of the generated project
    router.get(f"/{number}")(me)
router.get("/plain", dependencies=[Depends(nothing)])(plain)
app.include_router(router)
