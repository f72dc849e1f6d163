-- Sends a different request each time, out of a file of whole requests separated by NUL bytes.
-- wrk … -s wrk.lua -- FILE THREADS. Responses are not examined here: with a response() function wrk would keep
-- every body in memory, and measure itself. At the end one line of JSON is printed after wrk's own text.

local requests, count, position = {}, 0, 0
local started = 0

function setup(thread)
  thread:set("number", started)
  started = started + 1
end

function init(args)
  local file = assert(io.open(args[1], "rb"))
  for text in file:read("*a"):gmatch("[^%z]+") do
    count = count + 1
    requests[count] = text
  end
  file:close()
  position = math.floor(count * number / tonumber(args[2]))  -- threads begin at different requests
end

function request()
  position = position + 1
  if position > count then position = 1 end
  return requests[position]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "bytes": %d, "microseconds": %d, "p50": %d, "p90": %d, "p99": %d, "p999": %d, '
    .. '"max": %d, "connect": %d, "read": %d, "write": %d, "timeout": %d, "status": %d}\n',
    summary.requests, summary.bytes, summary.duration,
    latency:percentile(50), latency:percentile(90), latency:percentile(99), latency:percentile(99.9),
    latency.max, errors.connect, errors.read, errors.write, errors.timeout, errors.status))
end
