-- wrk -s bench/wrk.lua URL -- PATH CREATES: each line of the file CREATES is a token, a service and perhaps a message.
-- Prints what happened as a line of JSON.
local COMPLETE = '{"type":"interaction-complete"'
local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  path = args[1]
  right, wrong, position = 0, 0, 0
  tokens, bodies = {}, {}
  for line in io.lines(args[2]) do
    local token, service, message = line:match("(%S+) (%S+) ?(.*)")
    local said = message ~= "" and ',"initial_message":"' .. message .. '"' or ""
    tokens[#tokens + 1] = "Bearer " .. token
    bodies[#bodies + 1] = '{"service_id":"' .. service .. '"' .. said .. "}"
  end
end

function request()
  position = position % #tokens + 1
  local headers = { ["Authorization"] = tokens[position], ["Content-Type"] = "application/json" }
  return wrk.format("POST", path, headers, bodies[position])
end

function response(status, headers, body)
  local at = body:find(COMPLETE, 1, true)
  if status == 201 and at and body:find("\n", at, true) == #body then
    right = right + 1
  else
    wrong = wrong + 1
  end
end

function done(summary, latency, requests)
  local creates, errors = 0, summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  for _, thread in ipairs(threads) do
    creates = creates + thread:get("right")
    errors = errors + thread:get("wrong")
  end
  print(string.format('{"creates":%d,"errors":%d,"seconds":%.6f}', creates, errors, summary.duration / 1e6))
end
