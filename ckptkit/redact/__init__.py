"""Redaction: secrets, private paths, user and host names out of whatever is recorded, before it is recorded.

What is taken out leaves ``<redacted:kind>`` behind, never a hash: short secrets can be guessed from one. Two signs
count: the name of a value (``api_key``, by whole words, so that ``tokenizer`` and ``key_dim`` stay) and the public form
of a token (``hf_...``). Entropy alone is no sign: digests and commit ids are everywhere in a lineage. Redacting twice
changes nothing.
"""

from ckptkit.redact.environment import variables
from ckptkit.redact.forms import has_secret, tokens
from ckptkit.redact.keeping import keeping_secrets, keeps_secrets
from ckptkit.redact.naming import assignments, literal, may_assign
from ckptkit.redact.places import found, path
from ckptkit.redact.shown import argv, counted, text, url, values

__all__ = [
    "argv",
    "assignments",
    "counted",
    "found",
    "has_secret",
    "keeping_secrets",
    "keeps_secrets",
    "literal",
    "may_assign",
    "path",
    "text",
    "tokens",
    "url",
    "values",
    "variables",
]
