"""Objects in S3-compatible storage, served in place: signed, streamed, resumed, handed off."""
