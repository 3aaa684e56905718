"""URLs of buckets: which text is one, and no credentials in it, nor in what is printed."""

import os
import re

from icebox.features.errors import IceboxError

PACKAGES = {  # scheme: the package that reads it
    "s3": "icebox[s3]",
    "s3a": "icebox[s3]",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "az": "adlfs",
    "memory": "fsspec",
}
LOCAL = "file"
SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):/{1,2}", re.I)  # with one slash it has been a Path
USER = re.compile(r"(?<=//)[^/\s@]*:[^/\s@]*@")  # user:password@; Azure's container@account is none
QUERY = re.compile(r"\?[^/\s=]+=\S*")  # ?token=…; a pattern such as part-?.parquet is none
SECRET_VARIABLES = re.compile(r"(SECRET|TOKEN|PASSWORD|ACCOUNT_KEY|ACCESS_KEY|SAS|CONNECTION_STRING)", re.I)
SECRET_CHARACTERS_MIN = 6  # of a value, below which it may be a word


def is_url(text: object) -> bool:
    """Whether a text (of settings or an environment variable) is a URL, of a bucket or of another kind."""
    return isinstance(text, str) and "://" in text and bool(SCHEME.match(text))


def checked(text: str, *, where: str = "") -> str:
    """The URL itself. Raises IceboxError, which shows no secrets, for one that holds credentials or is of no bucket."""
    place = f"{where}: " if where else ""
    shown = redacted(text)
    if USER.search(text) or QUERY.search(text):
        raise IceboxError(
            f"{place}{shown}: expected an address without credentials, found some in it (left out here); give them to "
            "the library instead, by its environment variables or configuration file (of S3: AWS_PROFILE, "
            "AWS_ACCESS_KEY_ID …)"
        )
    scheme, _, rest = text.partition("://")
    if scheme.lower() not in (*PACKAGES, LOCAL):
        raise IceboxError(
            f"{place}{shown}: expected {', '.join(f'{name}://' for name in (*PACKAGES, LOCAL))} or a path"
        )
    if not rest.strip("/") and scheme != LOCAL:
        raise IceboxError(f"{place}{shown}: expected the name of a bucket after {scheme}://, found none")
    return text


def redacted(text: str) -> str:
    """A text without credentials: those within URLs, and the values of environment variables that hold some."""
    text = QUERY.sub("?…", USER.sub("…@", text))
    secrets = [value for name, value in os.environ.items() if SECRET_VARIABLES.search(name)]
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= SECRET_CHARACTERS_MIN and secret in text:
            text = text.replace(secret, "…")
    return text


def bucket_of(url: str) -> str:
    """The URL of the bucket itself."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"
