"""What the client suites share: a private Bastide, the stock clients, and the rules every answer keeps."""
