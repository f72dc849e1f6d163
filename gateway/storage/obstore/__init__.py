"""Objects in Google Cloud Storage and Azure Blob Storage, through the library obstore: the extra `clouds`."""
