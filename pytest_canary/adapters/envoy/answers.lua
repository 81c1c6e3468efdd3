-- Counts what passes: tokens of requests and answers, and what is wrong inside a 200.  Changes nothing and holds nothing
-- back: every piece goes on as it came.  What is found is dynamic metadata, which the access log counts.
--
-- Tokens are those of the answer's own `usage`; where it has none, a token is four characters of text.

local SPACE = "pytest_canary"
local CHARACTERS = 4
local LONGEST = 262144 -- bytes of one event, or of an answer that is no stream; what is longer is not read
local SPOKEN = { "content", "text", "delta", "reasoning_content", "reasoning", "arguments" }
local PATHS = { "/completions$", "/messages$", "/responses$" }

local function now(handle)
  return tonumber(handle:timestampString(EnvoyTimestampResolution.MICROSECOND))
end

-- Characters of the JSON string that begins at `from`, after its quote; an escape is one, and so is one of UTF-8.
local function characters(text, from)
  local count, at = 0, from
  while true do
    local stop = text:find('["\\]', at)
    local part = text:sub(at, (stop or 0) - 1)
    count = count + select(2, part:gsub("[^\128-\191]", ""))
    if not stop or text:byte(stop) == 34 then return count end
    count = count + 1
    at = stop + (text:byte(stop + 1) == 117 and 6 or 2)
  end
end

-- Characters of all strings with one of these names; inside a string quotes are escaped, so no text looks like a name.
local function spoken(text, names)
  local count = 0
  for _, name in ipairs(names) do
    local at = 1
    while true do
      local _, open = text:find('"' .. name .. '"%s*:%s*"', at)
      if not open then break end
      count = count + characters(text, open + 1)
      at = open + 1
    end
  end
  return count
end

local function number(text, ...)
  for _, name in ipairs({ ... }) do
    local found = text:match('"' .. name .. '"%s*:%s*(%d+)')
    if found then return tonumber(found) end
  end
end

-- Take one event of a stream, or a whole answer.
local function take(seen, text, at)
  if text:find('"choices"', 1, true) then seen.chosen = true end
  if text:find('"error"%s*:%s*{') or text:find('"error"%s*:%s*"[^"]') then seen.failed = true end
  local said = spoken(text, SPOKEN)
  if said > 0 then
    seen.characters = seen.characters + said
    seen.first, seen.last = seen.first or at, at
  end
  if spoken(text, { "refusal" }) > 0 then seen.refused = true end
  local finish = text:match('"finish_reason"%s*:%s*"([^"]*)"') or text:match('"stop_reason"%s*:%s*"([^"]*)"')
  if finish then
    seen.finished = true
    if finish == "content_filter" or finish == "refusal" then seen.refused = true end
    if finish == "error" or finish == "abort" then seen.failed = true end
  end
  local _, usage = text:find('"usage"%s*:%s*{')
  if usage then
    local told = text:sub(usage)
    seen.output = number(told, "completion_tokens", "output_tokens") or seen.output
    seen.input = number(told, "prompt_tokens", "input_tokens") or seen.input
  end
end

local function line(seen, text, at)
  if text:sub(1, 5) == "data:" then
    if text:find("^data:%s*%[DONE%]") then seen.finished = true else take(seen, text, at) end
  elseif text:find("^event:%s*error") then
    seen.failed = true
  end
end

-- Cut what has come into lines; the piece behind the last line end waits for the next.
local function stream(handle, seen)
  local rest = ""
  for chunk in handle:bodyChunks() do
    local text, at, from = rest .. chunk:getBytes(0, chunk:length()), now(handle), 1
    while true do
      local stop = text:find("[\r\n]", from)
      if not stop then break end
      line(seen, text:sub(from, stop - 1), at)
      from = stop + 1
    end
    rest = text:sub(from)
    if #rest > LONGEST then rest = "" end
  end
  line(seen, rest, seen.last)
  seen.cut = seen.chosen and not seen.finished
end

local function body(handle)
  local parts, size = {}, 0
  for chunk in handle:bodyChunks() do
    size = size + chunk:length()
    if size <= LONGEST then parts[#parts + 1] = chunk:getBytes(0, chunk:length()) end
  end
  return size <= LONGEST and table.concat(parts) or ""
end

local function kind(handle)
  local headers = handle:headers()
  if headers:get("content-encoding") then return "" end
  return (headers:get("content-type") or ""):lower()
end

local function asks_a_model(handle)
  local path = (handle:headers():get(":path") or ""):gsub("?.*", "")
  for _, ending in ipairs(PATHS) do
    if path:find(ending) then return true end
  end
end

-- What `handle` gives must not be kept while a body is waited for, so it is asked for anew each time.
local function note(handle, name, value)
  handle:streamInfo():dynamicMetadata():set(SPACE, name, value)
end

function envoy_on_request(handle)
  if not asks_a_model(handle) then return end
  note(handle, "asked", 0)
  if kind(handle):find("^application/json") then
    local said = spoken(body(handle), { "content", "text", "prompt", "input" })
    note(handle, "asked", math.ceil(said / CHARACTERS))
  end
end

function envoy_on_response(handle)
  local asked = (handle:streamInfo():dynamicMetadata():get(SPACE) or {})["asked"]
  if not asked or handle:headers():get(":status") ~= "200" then return end
  local type, seen = kind(handle), { characters = 0 }
  if type:find("^text/event%-stream") then
    stream(handle, seen)
  elseif type:find("^application/json") then
    take(seen, body(handle))
  else
    return
  end
  if seen.failed or seen.cut then
    note(handle, "said", seen.failed and "error" or "cut")
  elseif seen.refused then
    note(handle, "said", "refusal")
  end
  local output = seen.output or math.ceil(seen.characters / CHARACTERS)
  note(handle, "output", output)
  note(handle, "input", seen.input or asked)
  if seen.first and seen.last > seen.first and output > 1 then
    note(handle, "gap", math.floor((seen.last - seen.first) / (output - 1)))
  end
end
