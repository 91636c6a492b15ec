"""boto3's own variables: what is wrong with them is named with all other mistakes."""

from pathlib import Path

import pytest

from workers.errors import SettingsError
from workers.settings.aws_environment import missing_files, mistakes
from workers.settings.settings import check_boto3_files, load_settings

NO_URLS = "127.0.0.1:9000 localhost:9000 s3.example.com //h:9 ftp://h http:// http://h:port"
NO_URLS += " http://h:99999 http://h_x:9 http://-h http://[h]"
URLS = "http://127.0.0.1:9000 https://s3.example.com http://[::1]:9000/ HTTP://minio:9000"
URLS += " https://gateway.example.com/s3 http://u:p@h:9 https://a-b.example.com.:443"


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"])
@pytest.mark.parametrize("url", [*NO_URLS.split(), "http://a b"])
def test_an_endpoint_that_is_no_url(name: str, url: str) -> None:
    """An address without its scheme is what everybody writes first."""
    assert mistakes({name: url}).keys() == {name}


@pytest.mark.parametrize("url", URLS.split())
def test_an_endpoint_that_is_one(url: str) -> None:
    """Names, addresses of both kinds, ports, paths and what stands before an @ are taken."""
    assert mistakes({"AWS_ENDPOINT_URL_S3": url}) == {}


@pytest.mark.parametrize("region", ["eu west-1", "eu_west_1", "-a", "a-", "123", "a" * 64])
def test_a_region_that_is_none(region: str) -> None:
    """Both variables of a region are held to botocore's rule."""
    environ = {"AWS_REGION": region, "AWS_DEFAULT_REGION": region}
    assert mistakes(environ).keys() == environ.keys()


@pytest.mark.parametrize("region", ["us-east-1", "garage", "US", "eu-isoe-west-1", ""])
def test_a_region_that_is_one(region: str) -> None:
    """Stores that are not AWS have names of their own."""
    assert mistakes({"AWS_REGION": region, "AWS_DEFAULT_REGION": region}) == {}


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
        ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"),
    ],
)
def test_half_a_key_pair(name: str, missing: str) -> None:
    """The half that is missing, or blank, is named."""
    assert mistakes({name: "x"}).keys() == {missing}
    assert mistakes({name: "x", missing: " "}).keys() == {missing}
    assert mistakes({name: "x", missing: "y"}) == {}
    assert mistakes({name: "", missing: ""}) == {}


@pytest.mark.parametrize(
    "name", ["AWS_REQUEST_CHECKSUM_CALCULATION", "AWS_RESPONSE_CHECKSUM_VALIDATION"]
)
def test_a_word_that_is_misspelt(name: str) -> None:
    """boto3 makes no client with any other word, nor with a blank."""
    for word in ("when-required", "off", ""):
        assert "when_required" in mistakes({name: word})[name]
    for word in ("when_required", "WHEN_SUPPORTED"):
        assert mistakes({name: word}) == {}


@pytest.mark.parametrize("variable", ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"])
def test_a_profile_that_is_unknown(variable: str, tmp_path: Path) -> None:
    """Profiles are looked for in both files, as botocore names them."""
    config, credentials = tmp_path / "config", tmp_path / "credentials"
    files = {"AWS_CONFIG_FILE": str(config), "AWS_SHARED_CREDENTIALS_FILE": str(credentials)}
    assert missing_files({**files, variable: "one"}).keys() == {variable}
    config.write_text(
        "[default]\n[profile one]\nregion = x\n[profile 'two words']\n[three]\n[profile 'x]\n"
    )
    credentials.write_text("[four]\naws_access_key_id = a\n")
    for known in ("default", "one", "two words", "four"):
        assert missing_files({**files, variable: known}) == {}
    for unknown in ("three", "five", "profile one", " "):
        assert missing_files({**files, variable: unknown}).keys() == {variable}


def test_a_bundle_that_is_not_there(tmp_path: Path) -> None:
    """Without its file no connection over TLS is ever made."""
    assert missing_files({"AWS_CA_BUNDLE": str(tmp_path / "x")}).keys() == {"AWS_CA_BUNDLE"}
    assert missing_files({"AWS_CA_BUNDLE": str(tmp_path)}) == {}


def test_files_are_no_matter_of_the_settings(tmp_path: Path) -> None:
    """A process that is replaced while a file is away starts; only the service's start does not."""
    environ = {"AWS_PROFILE": "gone", "AWS_CONFIG_FILE": str(tmp_path), "AWS_CA_BUNDLE": "/gone"}
    assert load_settings({"S3_BUCKET": "bucket", **environ}).s3_bucket == "bucket"
    with pytest.raises(SettingsError) as caught:
        check_boto3_files(environ)
    names = [line.split(":")[0].strip() for line in str(caught.value).splitlines()[1:]]
    assert names == ["AWS_CA_BUNDLE", "AWS_PROFILE"]


def test_all_are_named_beside_ours_and_no_value_is_repeated() -> None:
    """One message has every mistake of every variable, and no password."""
    wrong = {
        "MAX_QUEUE": "many",
        "AWS_ENDPOINT_URL_S3": "user:hunter2@host",
        "AWS_REGION": "eu west",
        "AWS_ACCESS_KEY_ID": "hunter2",
    }
    with pytest.raises(SettingsError) as caught:
        load_settings(wrong)
    first, *lines = str(caught.value).splitlines()
    assert first == "settings are wrong:"
    assert [line.split(":")[0].strip() for line in lines] == [
        "AWS_ENDPOINT_URL_S3",
        "AWS_REGION",
        "AWS_SECRET_ACCESS_KEY",
        "MAX_QUEUE",
        "S3_BUCKET",
    ]
    assert "hunter2" not in str(caught.value)
