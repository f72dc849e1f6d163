-- Checks a token in nginx: hashes it, looks it up in Redis over a pool of kept connections, and redirects
-- internally to the file. It has a minimal RESP client, which does what lua-resty-redis does for these commands.

local ffi = require "ffi"
local C = ffi.C
local tcp, var, exec, exit = ngx.socket.tcp, ngx.var, ngx.exec, ngx.exit
local sub, byte, format = string.sub, string.byte, string.format

ffi.cdef [[
int SHA256_Init(void *context);
int SHA256_Update(void *context, const void *data, size_t length);
int SHA256_Final(unsigned char *digest, void *context);
unsigned char *ngx_hex_dump(unsigned char *target, const unsigned char *source, size_t length);
]]

local POOL = { pool = "redis", pool_size = 256 }
local IDLE_MS, TIMEOUT_MS = 60000, 1000
local ID_BYTES = 16
local context = ffi.new("unsigned char[128]")  -- SHA256_CTX has 112
local digest = ffi.new("unsigned char[32]")
local hex = ffi.new("unsigned char[32]")

-- The token's id: the first 32 hex digits of its SHA-256. The buffers are shared, since nothing here yields.
local function identify(token)
  C.SHA256_Init(context)
  C.SHA256_Update(context, token, #token)
  C.SHA256_Final(digest, context)
  C.ngx_hex_dump(hex, digest, ID_BYTES)
  return ffi.string(hex, 2 * ID_BYTES)
end

-- Reads one reply: a string, a number, or false for nil. On an error returns nil and the error.
local function read_reply(socket)
  local line, fault = socket:receive()
  if not line then return nil, fault end
  local kind = byte(line)
  if kind == 36 then  -- $: a string of that length
    local length = tonumber(sub(line, 2))
    if length < 0 then return false end
    local data
    data, fault = socket:receive(length + 2)
    if not data then return nil, fault end
    return sub(data, 1, length)
  end
  if kind == 58 then return tonumber(sub(line, 2)) end  -- :
  if kind == 43 then return sub(line, 2) end  -- +
  return nil, sub(line, 2)  -- -
end

local Gate = {}
Gate.__index = Gate

local function execute(self, command)
  local socket = tcp()
  socket:settimeout(TIMEOUT_MS)
  local ok, fault = socket:connect(self.path, POOL)
  if not ok then return nil, fault end
  ok, fault = socket:send(command)
  if not ok then return nil, fault end
  local reply
  reply, fault = read_reply(socket)
  if reply == nil then
    socket:close()
    return nil, fault
  end
  socket:setkeepalive(IDLE_MS, POOL.pool_size)
  return reply
end

local function respond(file, fault)
  if file == nil then
    ngx.log(ngx.ERR, "redis: ", fault)
    return exit(503)
  end
  if not file or file == 0 then return exit(403) end
  return exec("/protected/" .. file)
end

function Gate:look_up(token)
  return execute(self, "*2\r\n$3\r\nGET\r\n$43\r\nbench:file:" .. identify(token) .. "\r\n")
end

local function download(self)
  local token = var.arg_token
  if not token then return exit(401) end
  return respond(self:look_up(token))
end

local function limited(self)
  local token = var.arg_token
  if not token then return exit(401) end
  return respond(execute(self, self.count .. identify(token) .. "\r\n"))
end

-- A front proxy's subrequest: the token is in the URL that the client requested.
local function auth(self)
  local original = var.http_x_original_uri
  local at = original and original:find("token=", 1, true)
  if not at then return exit(401) end
  local file, fault = self:look_up(original:match("^[%w_-]+", at + 6) or "")
  if file == nil then
    ngx.log(ngx.ERR, "redis: ", fault)
    return exit(503)
  end
  if not file then return exit(403) end
  ngx.header["X-Accel-File"] = file
  return exit(200)
end

local module = {}

-- path: Redis' unix socket. script: the hash of the script that checks and counts, loaded beforehand.
function module.new(path, script)
  local self = setmetatable({
    path = "unix:" .. path,
    count = format("*4\r\n$7\r\nEVALSHA\r\n$%d\r\n%s\r\n$1\r\n1\r\n$46\r\nbench:limited:", #script, script),
  }, Gate)
  return {
    download = function() return download(self) end,
    limited = function() return limited(self) end,
    auth = function() return auth(self) end,
  }
end

return module
