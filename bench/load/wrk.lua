-- A different request each time, out of a file of whole requests separated by NUL bytes.
-- wrk … -s wrk.lua -- FILE THREADS [statuses]. With the third word every answer's status is counted, which
-- costs wrk about 3 µs each. Prints one line of JSON at the end, in place of wrk's prose.

local requests, count, position = {}, 0, 0
local threads = {}
statuses = {}  -- global, so that done() can read it from each thread

function setup(thread)
  thread:set("number", #threads)
  threads[#threads + 1] = thread
end

function init(args)
  local file = assert(io.open(args[1], "rb"))
  for text in file:read("*a"):gmatch("[^%z]+") do
    count = count + 1
    requests[count] = text
  end
  file:close()
  if args[3] == "statuses" then
    response = function(status)
      local name = tostring(status)
      statuses[name] = (statuses[name] or 0) + 1
    end
  end
  position = math.floor(count * number / tonumber(args[2]))  -- threads begin far apart
end

function request()
  position = position + 1
  if position > count then position = 1 end
  return requests[position]
end

function done(summary, latency)
  local errors, counts, parts = summary.errors, {}, {}
  for _, thread in ipairs(threads) do
    for status, number in pairs(thread:get("statuses")) do
      counts[status] = (counts[status] or 0) + number
    end
  end
  for status, number in pairs(counts) do
    parts[#parts + 1] = string.format('"%s": %d', status, number)
  end
  io.write(string.format(
    '\n{"requests": %d, "bytes": %d, "microseconds": %d, "p50": %d, "p90": %d, "p99": %d, "p999": %d, '
    .. '"max": %d, "connect": %d, "read": %d, "write": %d, "timeout": %d, "status": %d, '
    .. '"statuses": {%s}}\n',
    summary.requests, summary.bytes, summary.duration,
    latency:percentile(50), latency:percentile(90), latency:percentile(99), latency:percentile(99.9),
    latency.max, errors.connect, errors.read, errors.write, errors.timeout, errors.status,
    table.concat(parts, ", ")))
end
