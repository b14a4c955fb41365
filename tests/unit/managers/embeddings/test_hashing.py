"""Hashed words: the same everywhere, near if words are shared, never without a direction, fast."""

from __future__ import annotations

import subprocess
import sys
import time
from hashlib import blake2b
from threading import Thread

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_platform.errors import ConfigurationError
from data_platform.managers.embeddings import hashing
from data_platform.managers.embeddings.hashing import HashingEmbedder
from data_platform.managers.embeddings.interface import Vectors

EMBEDDER = HashingEmbedder(768)


def vectors(*texts: str, embedder: HashingEmbedder = EMBEDDER) -> Vectors:
    answer = embedder.embed(texts)
    assert answer.refused == {}
    return answer.vectors


def test_it_says_what_it_is() -> None:
    assert (EMBEDDER.model, EMBEDDER.dimension, EMBEDDER.approximate) == ("hashing-1", 768, True)
    assert vectors().shape == (0, 768)


def test_a_vector_by_hand() -> None:
    """Two words, the second twice; accents and case do not count, signs beside the letters neither."""
    expected = np.zeros(32)
    for word, times in (("educacao", 1), ("saude", 2)):
        numbers = np.frombuffer(blake2b(word.encode(), digest_size=16).digest(), "<u2").astype(int)
        for number in numbers:
            expected[(number >> 1) % 32] += times if number & 1 else -times
    (found,) = vectors("Educação, — SAÚDE (saúde!)", embedder=HashingEmbedder(32))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), rtol=1e-6)


def test_texts_that_share_words_are_near() -> None:
    one, two, other = vectors("vacina contra a dengue", "dengue tem nova vacina", "safra de grãos bate recorde")
    assert one @ two > 0.3
    assert abs(one @ other) < 0.15


@given(st.lists(st.text(max_size=60), min_size=1, max_size=5), st.integers(1, 40))
def test_every_text_has_a_vector_of_length_1_whatever_stands_beside_it(texts: list[str], dimension: int) -> None:
    texts = [text.encode(errors="ignore").decode() for text in texts]
    embedder = HashingEmbedder(dimension)
    together = vectors(*texts, embedder=embedder)
    assert together.shape == (len(texts), dimension)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, rtol=1e-5)
    for text, vector in zip(texts, together, strict=True):
        np.testing.assert_array_equal(vectors(text, embedder=HashingEmbedder(dimension))[0], vector)


def test_another_process_has_the_same_vectors() -> None:
    code = (
        "import sys; from data_platform.managers.embeddings.hashing import HashingEmbedder as H;"
        "sys.stdout.buffer.write(H(64).embed(['Ação, ação', '—', '']).vectors.tobytes())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == vectors("Ação, ação", "—", "", embedder=HashingEmbedder(64)).tobytes()


def test_it_forgets_words_and_answers_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "_MOST_WORDS", 8)
    small = HashingEmbedder(768)
    for text in ("a b c d e", "f g h i", "a z", " ".join(f"w{n}" for n in range(20)), "a b"):
        np.testing.assert_array_equal(vectors(text, embedder=small), vectors(text))
        assert len(small._row_of) <= 8


def test_threads_do_not_disturb_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "_MOST_WORDS", 50)
    small, wrong = HashingEmbedder(768), list[int]()

    def work(first: int) -> None:
        for number in range(first, first + 60):
            text = " ".join(f"w{number + n}" for n in range(9))
            if not np.array_equal(small.embed([text]).vectors, EMBEDDER.embed([text]).vectors):
                wrong.append(number)

    threads = [Thread(target=work, args=(n * 40,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("dimension", [0, -1, 40_000])
def test_a_dimension_that_cannot_be_is_refused(dimension: int) -> None:
    with pytest.raises(ConfigurationError, match="EMBEDDINGS_DIMENSION"):
        HashingEmbedder(dimension)


def test_a_process_makes_thousands_a_second() -> None:
    """A limit far below what it does on a quiet machine (20,000): for a slip that makes it slow by the text."""
    texts = [" ".join(f"palavra{(n * k) % 5000}" for k in range(90)) for n in range(2000)]
    EMBEDDER.embed(texts)
    started = time.process_time()
    EMBEDDER.embed(texts)
    assert 2000 / (time.process_time() - started) > 4000
