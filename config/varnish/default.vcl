# Varnish passes downloads on, and keeps none of them. This default.vcl is complete, and is run in the tests.
#
# To change for your machine: the backend (where the gateway listens). Let Varnish listen with `-a :80`.
# The gateway must trust Varnish: set trusted_proxies = ["127.0.0.1"] in its settings.
#
# Without this, Varnish fetches the whole file for each range. The bytes are charged to the link, so that a download
# that breaks off and resumes uses up its limit. `return (pass)` is not enough: it answers several ranges with 503.
# Start varnishd with `-p pipe_timeout=600`: a slow download is not cut, and the gateway ends a stalled one first.

vcl 4.1;

backend gateway {
    .host = "127.0.0.1";
    .port = "8080";
}

sub vcl_recv {
    # Downloads; and webhooks of shops and the customers' pages, which the gateway passes on to its web process.
    if (req.url !~ "^/+(download|hooks|my)([/?]|$)" && req.url !~ "^/\.well-known/jwks\.json([?]|$)") {
        return (synth(404));
    }
    unset req.http.Forwarded;  # the client's own; the gateway refuses two fields that differ
    return (pipe);
}

sub vcl_pipe {
    # The next request on the same connection would not be looked at here.
    set bereq.http.Connection = "close";
}
