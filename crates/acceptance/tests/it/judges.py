"""The providers' own libraries judge what AllClear accepts and what it sends.

The first argument says what to do; the rest goes by JSON over standard input and output.
"""

import email
import email.policy
import json
import socket
import ssl
import sys
import tempfile


class Many(dict):
    """Parameters of a form, some of them several times, as web frameworks hand them over."""

    def getlist(self, name):
        return self[name]


def twilio(asked):
    from twilio.request_validator import RequestValidator

    validator = RequestValidator(asked["token"])
    signatures = []
    for case in asked["cases"]:
        parameters = Many()
        for name, value in case["parameters"]:
            parameters.setdefault(name, []).append(value)
        signatures.append(validator.compute_signature(case["url"], parameters))
    return signatures


def slack_signatures(asked):
    from slack_sdk.signature import SignatureVerifier

    verifier = SignatureVerifier(asked["secret"])
    return [
        verifier.generate_signature(timestamp=asked["timestamp"], body=body) for body in asked["bodies"]
    ]


def slack_blocks(asked):
    from slack_sdk.models.blocks import Block

    for message in asked["messages"]:
        blocks = Block.parse_all(message["blocks"])
        assert len(blocks) == len(message["blocks"]) <= 50, message
        for block in blocks:
            block.validate_json()
            text = block.to_dict().get("text", {}).get("text", "")
            assert len(text) <= 3000, text
    return len(asked["messages"])


def webhooks(asked):
    from standardwebhooks.webhooks import Webhook

    judge = Webhook(asked["secret"])
    return [judge.verify(one["body"], one["headers"])["type"] for one in asked["messages"]]


class Mails:
    """Keeps what a real mail server took, and how its client came in."""

    def __init__(self):
        self.taken = []

    async def handle_DATA(self, server, session, envelope):
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        parts = {part.get_content_type(): part.get_content() for part in message.walk() if not part.is_multipart()}
        self.taken.append({
            "from": envelope.mail_from, "to": envelope.rcpt_tos,
            "tls": session.ssl is not None, "signed_in": session.authenticated,
            "headers": {name: str(value) for name, value in message.items()},
            "defects": [repr(defect) for defect in message.defects],
            "longest_line": max(len(line) for line in envelope.content.splitlines()),
            "parts": parts,
        })
        return "250 taken"


def mail(_):
    """Serves SMTP with STARTTLS and AUTH until standard input ends; the first line says where."""
    import trustme
    from aiosmtpd.controller import Controller
    from aiosmtpd.smtp import AuthResult

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile("wb") as chain, tempfile.NamedTemporaryFile("wb") as key:
        certificate = authority.issue_cert("localhost", "127.0.0.1")
        for blob in certificate.cert_chain_pems:
            chain.write(blob.bytes())
        key.write(certificate.private_key_pem.bytes())
        chain.flush(), key.flush()
        context.load_cert_chain(chain.name, key.name)

    def knows(server, session, envelope, mechanism, data):
        is_known = (data.login, data.password) == (b"allclear", b"hunter22")
        return AuthResult(success=is_known, handled=False)

    mails = Mails()
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    controller = Controller(
        mails, hostname="127.0.0.1", port=port, tls_context=context, require_starttls=True,
        authenticator=knows, auth_required=True,
    )
    controller.start()
    print(json.dumps({"port": port, "authority": authority.cert_pem.bytes().decode()}), flush=True)
    sys.stdin.read()
    controller.stop()
    return mails.taken


if __name__ == "__main__":
    what = {
        "twilio": twilio, "slack-signatures": slack_signatures, "slack-blocks": slack_blocks,
        "webhooks": webhooks, "mail": mail,
    }[sys.argv[1]]
    asked = None if sys.argv[1] == "mail" else json.load(sys.stdin)
    print(json.dumps(what(asked)))
