"""A shop in Flask: `gunicorn --workers 2 --threads 8 shop_flask:app`, with VALKEY_URL."""

import os
from datetime import timedelta
from typing import Any

from flask import Flask, Response, request, session

from greenroom import Keyspace, SessionSettings
from greenroom.integrations.flask import Greenroom, answer
from greenroom.sync import Greenroom as Room

NAMES = {1: "Chair", 2: "Table"}  # stands for your database
NAME = Keyspace("shop:name:{sku}", str, parts={"sku": int}, ttl=timedelta(minutes=30))

app = Flask(__name__)
room = Room(os.environ.get("VALKEY_URL"), sessions=SessionSettings(dict[str, Any], idle=timedelta(hours=1)))
Greenroom(app, room=room)  # flask.session is the room's; errors are problem documents


@room.cached(NAME)
def name_of(sku: int) -> str | None:
    return NAMES.get(sku)


@app.get("/names/<int:sku>")
def name(sku: int) -> Response:  # with ETag and Cache-Status; 304 where the client has it
    return answer(name_of.get_result(sku))


@app.post("/log-in/<user>")
def log_in(user: str) -> str:  # check the password first
    session["user_id"] = user  # another token from here on
    return user


@app.post("/members/<member>")
def change(member: str) -> str:
    session[member] = request.get_data(as_text=True)  # two requests at once: both are kept
    return str(os.getpid())


@app.get("/")
def read() -> dict[str, Any]:
    return dict(session)


@app.post("/log-out-everywhere")
def log_out() -> dict[str, int]:
    ended = room.sessions.end_all(session["user_id"])
    session.clear()
    return {"ended": ended}
