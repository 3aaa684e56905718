"""`icebox push`: an export with its card to a repository of the Hugging Face hub."""

import logging
import tempfile
from pathlib import Path

from icebox.features.buckets.retries import NETWORK
from icebox.features.errors import IceboxError
from icebox.features.json_files import one_line
from icebox.pipeline.export import export
from icebox.pipeline.exported import folder as exported
from icebox.pipeline.exported.folder import ExportFolder, is_export

logger = logging.getLogger("icebox")


def push(name: str, repository: str, *, public: bool = False, dry_run: bool = False) -> list[str]:
    """Upload an export's folder, or an export made of STORE/HEAD, to OWNER/NAME → the names of its files.

    The repository is made where there is none, private unless `public`; the visibility of one that is there stays.
    HF_TOKEN, or the login of huggingface_hub, says who pushes. Raises IceboxError where the hub refuses.
    """
    refuse_repository(repository)
    if is_export(Path(name)):
        return upload(exported.opened(Path(name)), repository, public=public, dry_run=dry_run)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "model"
        export.export(name, made)
        return upload(exported.opened(made), repository, public=public, dry_run=dry_run)


def refuse_repository(repository: str) -> None:
    """Raise IceboxError for what is no OWNER/NAME, before anything is exported."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(repository)
    except HFValidationError as reason:
        raise IceboxError(f"push {one_line(repository)}: expected OWNER/NAME ({one_line(reason)})") from reason


def upload(folder: ExportFolder, repository: str, *, public: bool, dry_run: bool) -> list[str]:
    """Upload the files of the manifest, and it, in one commit; with `dry_run` only list them."""
    names = [*folder.files, exported.MANIFEST]
    if dry_run:
        return names
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

    hub = HfApi(library_name="icebox")
    operations = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=folder.path / name) for name in names]
    try:
        hub.create_repo(repository, private=not public, exist_ok=True)
        commit = hub.create_commit(
            repository, operations, commit_message=f"Export of {folder.config['name']} by Icebox"
        )
    except LocalTokenNotFoundError as reason:
        raise IceboxError(
            f"push {repository}: the hub does not know you; run: hf auth login, or set HF_TOKEN"
        ) from reason
    except HfHubHTTPError as reason:
        status = reason.response.status_code
        who = "; log in (hf auth login), or set HF_TOKEN to one that may write there" if status in (401, 403) else ""
        raise IceboxError(f"push {repository}: the hub refused ({status}: {one_line(reason)}){who}") from reason
    except OfflineModeIsEnabled as reason:
        raise IceboxError(f"push {repository}: HF_HUB_OFFLINE is set; unset it to push") from reason
    except Exception as reason:
        if type(reason).__module__.partition(".")[0] not in NETWORK:
            raise
        raise IceboxError(
            f"push {repository}: the hub can't be reached ({one_line(reason)}); look at the network, and at "
            "HF_ENDPOINT where that is set, then run this again"
        ) from reason
    logger.info("%s: pushed to %s", folder.config["name"], commit.commit_url)
    return names
