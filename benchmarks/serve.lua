-- Requests of one picture each, for wrk: its clients take hardly any of the server's processor.
--
--   icebox serve flowers-squeezenet/logreg
--   PICTURES=data/raw/flowers5 wrk -t1 -c8 -d40s --latency -s benchmarks/serve.lua http://127.0.0.1:8000

local BOUNDARY, PICTURES_MAX = "icebox-boundary", 400
local HEADERS = {["Content-Type"] = "multipart/form-data; boundary=" .. BOUNDARY, ["Host"] = "127.0.0.1"}
local bodies, number = {}, 0

for path in io.popen("find '" .. os.getenv("PICTURES") .. "' -name '*.jpg' | sort"):lines() do
  if #bodies < PICTURES_MAX then
    local file = assert(io.open(path, "rb"))
    bodies[#bodies + 1] = "--" .. BOUNDARY .. '\r\nContent-Disposition: form-data; name="images"; filename="a.jpg"\r\n'
      .. "Content-Type: image/jpeg\r\n\r\n" .. file:read("*a") .. "\r\n--" .. BOUNDARY .. "--\r\n"
    file:close()
  end
end
assert(#bodies > 0, "found no .jpg below PICTURES")

function request()
  number = number % #bodies + 1
  return wrk.format("POST", "/predict", HEADERS, bodies[number])
end

function done(summary)
  local failed = summary.errors.status + summary.errors.timeout + summary.errors.read + summary.errors.write
  print(string.format("%d requests failed", failed))
end
