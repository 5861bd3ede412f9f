"""Places that are not this machine, on loopback."""

import pytest

from mapengine.checkpoints import remote, retries
from remote.hub import Hub
from remote.server import Server, s3_server

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "KEYOFTHETEST",
    "AWS_SECRET_ACCESS_KEY": "SECRETOFTHETEST",
    "AWS_DEFAULT_REGION": "us-east-1",
}
HUB_TOKEN = "hf_TOKENOFTHETEST"


@pytest.fixture(scope="session")
def s3_at():
    server = s3_server()
    yield server
    server.close()


@pytest.fixture
def s3(s3_at, monkeypatch):
    """The server, with an empty bucket; this process and those it starts are told where it is."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_at.url)
    monkeypatch.setattr(retries, "FIRST", 0.02)  # seconds
    monkeypatch.setattr("moto.s3.models.S3_UPLOAD_PART_MIN_SIZE", 1)  # S3's is 5 MiB
    remote.connect.cache_clear()
    s3_at.client = client(s3_at.url)
    s3_at.client.create_bucket(Bucket="models")
    s3_at.clear()
    yield s3_at
    empty(s3_at.client)
    remote.connect.cache_clear()


@pytest.fixture(scope="session")
def hub_at():
    server = Server(Hub())
    yield server
    server.close()


@pytest.fixture
def hub(hub_at, monkeypatch):
    """The Hub, with nothing in it, for this process and those it starts."""
    from huggingface_hub import HfFileSystem, constants

    monkeypatch.setenv("HF_ENDPOINT", hub_at.url)
    monkeypatch.setenv("HF_TOKEN", HUB_TOKEN)
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")  # another protocol, with servers of its own
    template = f"{hub_at.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "ENDPOINT", hub_at.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(retries, "FIRST", 0.02)
    hub_at.app = Hub(hub_at.url)
    hub_at.clear()
    HfFileSystem.clear_instance_cache()
    remote.connect.cache_clear()
    yield hub_at
    remote.connect.cache_clear()


def client(url):
    import boto3

    return boto3.client("s3", endpoint_url=url)


def empty(client):
    for upload in client.list_multipart_uploads(Bucket="models").get("Uploads", []):
        client.abort_multipart_upload(
            Bucket="models", Key=upload["Key"], UploadId=upload["UploadId"]
        )
    for entry in client.list_objects_v2(Bucket="models").get("Contents", []):
        client.delete_object(Bucket="models", Key=entry["Key"])
    client.delete_bucket(Bucket="models")


def put_folder(client, folder, prefix):
    """Uploads a folder's files."""
    for path in folder.iterdir():
        client.upload_file(str(path), "models", f"{prefix}/{path.name}")
    return f"s3://models/{prefix}"
