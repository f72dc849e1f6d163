"""Objects in S3-compatible storage: signed, streamed, resumed, or handed off by presigned URLs."""
