"""The object, its status and every word that users see; imports nothing of the other rooms."""
