"""`rcan options`: the reference and the schema, printed or written."""

import json

from rcan_plugin import cli
from rcan_plugin.options import export


def test_the_schema_is_written_whole_or_not_at_all(tmp_path, capsys):
    out = tmp_path / "schema.json"
    assert cli.main(["options", "schema", "--out", str(out)]) == 0
    assert json.loads(out.read_text()) == json.loads(json.dumps(export.json_schema()))
    assert [path.name for path in tmp_path.iterdir()] == ["schema.json"]
    assert cli.main(["options", "schema", "--out", str(tmp_path / "none/schema.json")]) == 2
    assert "expected a file in a folder that exists" in capsys.readouterr().err


def test_the_reference_goes_to_standard_output(capsys):
    assert cli.main(["options", "reference"]) == 0
    assert capsys.readouterr().out == export.reference()
