-- Defines `allowance`, the bytes that a token may receive of one file: `limit` downloads, and half a download
-- more, for probes and for what a client that broke off had not read. A further whole download never fits.
local function allowance(limit, size) return limit * size + math.floor(size / 2) end
