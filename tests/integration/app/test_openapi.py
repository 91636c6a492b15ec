"""The OpenAPI document of a service without an access file."""

from tests.integration.app.application import Start


def test_without_keys_the_document_asks_for_none(start: Start) -> None:
    """Where everything is open, no key, no 401 and no 429 is in it; every route is."""
    service = start()
    found = service.client.get("/openapi.json").get_json()
    assert "security" not in found
    assert "securitySchemes" not in found["components"]
    statuses = {
        status
        for methods in found["paths"].values()
        for operation in methods.values()
        for status in operation["responses"]
    }
    assert not statuses & {"401", "429"}
    rules = {
        rule.rule.replace("<", "{").replace(">", "}") for rule in service.app.url_map.iter_rules()
    }
    assert set(found["paths"]) == rules


def test_figures_are_what_the_document_names(start: Start) -> None:
    """Each figure of /stats is in its schema, and no other."""
    service = start()
    schemas = service.client.get("/openapi.json").get_json()["components"]["schemas"]
    assert set(service.stats()) == set(schemas["Stats"]["properties"])
