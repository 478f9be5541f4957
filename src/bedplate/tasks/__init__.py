"""What an evaluation item is, its prompt and where its rows are read from. No torch here."""
