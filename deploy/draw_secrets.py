"""Draws the passwords and keys of a tracking server, as lines that a shell and a compose file both read."""

import secrets

NAMES = (
    "POSTGRES_PASSWORD",
    "MLFLOW_DB_PASSWORD",
    "MLFLOW_ADMIN_PASSWORD",
    "MLFLOW_FLASK_SERVER_SECRET_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "PEOPLE_ACCESS_KEY_ID",
    "PEOPLE_SECRET_ACCESS_KEY",
    "ADA_PASSWORD",
    "GRACE_PASSWORD",
)

if __name__ == "__main__":
    for name in NAMES:
        # Hexadecimal, because some of them become parts of addresses.
        print(f"{name}={secrets.token_hex(16)}")
