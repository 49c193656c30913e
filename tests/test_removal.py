from pathlib import Path

from ckptkit import removal


def test_bytes_that_come_free(tmp_path: Path) -> None:
    one, two, three, alone = (tmp_path / name for name in ("1", "2", "3", "4"))
    one.write_bytes(b"x" * 100)
    two.hardlink_to(one)
    three.hardlink_to(one)
    alone.write_bytes(b"y" * 7)
    assert removal.freed([alone]) == 7
    assert removal.freed([one, two, alone]) == 7
    assert removal.freed([one, two, three, alone]) == 107
    assert removal.freed([tmp_path / "nothing"]) == 0
