"""Why a mail does not leave."""

from __future__ import annotations

from gateway.mail.verdicts import Step, Verdict, judge


class MailFault(Exception):
    """A mail was not taken. Its text says why, and `remedy` what to do about it.

    The text may have what the server answered, and with that the address: it is for the outbox, never for the
    log, which gets `log_text`.
    """

    def __init__(
        self,
        step: Step,
        text: str,
        *,
        code: int | None = None,
        remedy: str = "",
        verdict: Verdict | None = None,
    ) -> None:
        super().__init__(text)
        self.step = step
        self.code = code
        self.remedy = remedy
        self.verdict = verdict or judge(step, code)
        self.log_text = text if code is None else f"the mail server answered {code} to {step.value}"

    @property
    def advice(self) -> str:
        """The text with the next step."""
        return f"{self}: {self.remedy}" if self.remedy else str(self)
