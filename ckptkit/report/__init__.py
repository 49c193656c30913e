"""What verbs return, as text and as JSON; strings only, nothing is printed here."""
