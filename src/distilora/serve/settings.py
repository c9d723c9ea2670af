"""How a server is set up: where it listens, who may ask, and how much of everything it takes."""

from __future__ import annotations

from pydantic import Field, SecretStr

from distilora.config import Settings

MIB = 2**20


class Limits(Settings):
    """The most that the server takes of anything that comes from outside."""

    body_bytes: int = Field(MIB, ge=1024, description="bytes of a request's body; a file has its own limit")
    file_bytes: int = Field(16 * MIB, ge=1024, description="bytes of a file of comments that is sent")
    file_rows: int = Field(50_000, ge=1, description="rows of such a file")
    files: int = Field(2, ge=1, description="files that are answered at once")
    texts: int = Field(256, ge=1, description="texts of a request")
    characters: int = Field(20_000, ge=1, description="characters of a text")
    explained_words: int = Field(200, ge=1, description="words of a text whose influence is worked out")
    queue_texts: int = Field(1024, ge=1, description="texts that wait for a model; more are refused")
    requests: int = Field(256, ge=1, description="requests in hand at once; more are refused")
    connections: int = Field(1024, ge=1, description="connections that are open at once; more are refused")
    deadline_s: float = Field(10, gt=0, le=600, description="seconds until a request that waits is given up")
    body_s: float = Field(
        20,
        gt=0,
        le=600,
        description="seconds for a request's headers to come, then its body, then for its answer to be read",
    )
    feedback_rows: int = Field(1_000_000, ge=1, description="rows of feedback that are kept; more are refused")


class ServeSettings(Settings):
    """Everything about one server but the models that it serves."""

    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0: every one of this machine")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0: a free one")
    threads: int = Field(1, ge=1, description="processor threads that run models")
    allowed_hosts: tuple[str, ...] = Field(
        (), description="names by which the server may be called, beside its address and localhost"
    )
    api_key: SecretStr | None = Field(None, description="what a program must send; absent: nothing")
    feedback: str | None = Field(None, description="SQLite file or postgresql:// address; absent: no feedback")
    log_texts: bool = Field(False, description="whether the log may hold comments")
    drain_s: float = Field(1, ge=0, le=600, description="seconds in which it still takes requests after SIGTERM")
    limits: Limits = Limits()
