import numpy as np
import pytest

from engines import EngineError
from engines.scripted import ScriptedEngine


def test_it_answers_from_its_script_until_it_is_closed() -> None:
    engine = ScriptedEngine(lambda inputs: {"out": inputs["in"] * 2})
    assert engine.run({"in": np.ones(3, np.float32)})["out"].tolist() == [2, 2, 2]

    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.run({"in": np.ones(3, np.float32)})
