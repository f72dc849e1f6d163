"""The seller's pages, `/dashboard` on `dashboard_listen`. They are private: nothing passes them on."""
