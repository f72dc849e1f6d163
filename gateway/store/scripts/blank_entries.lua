-- Writes a stream anew, with the values of some entries taken out. An entry that is only deleted stays in the
-- stream's memory. KEYS: the stream. ARGV: the text in their place, then the ids of the entries. The fields
-- `action` and `by` stay.
local blank = {}
for number = 2, #ARGV do blank[ARGV[number]] = true end
local entries = redis.call('XREVRANGE', KEYS[1], '+', '-')
redis.call('DEL', KEYS[1])
for number = #entries, 1, -1 do
  local id, fields = entries[number][1], entries[number][2]
  if blank[id] then
    for place = 1, #fields, 2 do
      if fields[place] ~= 'action' and fields[place] ~= 'by' then fields[place + 1] = ARGV[1] end
    end
  end
  redis.call('XADD', KEYS[1], id, unpack(fields))
end
return #entries
