"""Tables that other engines know: a result becomes one commit of their own log or catalog."""
