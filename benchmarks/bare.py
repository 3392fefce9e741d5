"""The smallest FastAPI app that answers with a small document: what everything is measured against."""

from fastapi import FastAPI

app = FastAPI()


@app.get("/users/me")
async def me() -> dict[str, str | list[str]]:
    return {"id": "a9a2e0f6-4c2f-4a4c-9d7c-0f4f4a3f2b11", "name": "someone@example.com", "roles": ["user"]}
