-- wrk: POST the file $BODY with the headers of $HEADERS ("name: value" a line). With $SIGNED, a file of one
-- "timestamp nonce signature" a line, every request takes the next line. With $NUMBERED every request has an id of its
-- own, as one session needs. Prints one line of JSON at the end.
local function read(name)
  local file = assert(io.open(os.getenv(name), "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

wrk.method = "POST"
wrk.body = read("BODY")
for line in read("HEADERS"):gmatch("[^\n]+") do
  local name, value = line:match("^([^:]+): (.*)$")
  wrk.headers[name] = value
end

if os.getenv("SIGNED") then
  local lines, at = {}, 0
  for line in io.lines(os.getenv("SIGNED")) do lines[#lines + 1] = line end
  function request()
    at = at + 1
    local stamp, nonce, signature = lines[at]:match("^(%S+) (%S+) (%S+)$")
    wrk.headers["x-timestamp"], wrk.headers["x-nonce"], wrk.headers["x-signature"] = stamp, nonce, signature
    return wrk.format()
  end
end

if os.getenv("NUMBERED") then
  local before, after = wrk.body:match('^(.-"id":)1(,.*)$')
  local number = 0
  function request()
    number = number + 1
    return wrk.format(nil, nil, nil, before .. number .. after)
  end
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    'JSON {"requests": %d, "seconds": %.6f, "p50": %.6f, "p99": %.6f, "failed": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e6, latency:percentile(99) / 1e6,
    errors.status + errors.connect + errors.read + errors.write + errors.timeout))
end
