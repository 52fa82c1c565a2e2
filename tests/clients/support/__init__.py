"""What the client suites share: a private Bastide, the stock clients, and the rules every answer keeps."""

import os

# Everything here is on loopback and trusts the CA it is told: a developer's proxy or bundle must not interfere
# (requests lets REQUESTS_CA_BUNDLE override a session's own).
os.environ["NO_PROXY"] = "*"
for _name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
    os.environ.pop(_name, None)
